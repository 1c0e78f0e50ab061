"""Clips that cannot be used: counted over all loader workers, named once, and skipped or fatal."""

import zlib
from collections.abc import Iterable

import torch
from transformers.utils import logging

from .decoding import BadClipError


logger = logging.get_logger(__name__)

# Number of bad clips that get a warning each. `report_bad_clips` sums up the others.
NAMED_AT_ONCE = 10


class DataError(ValueError):
    """A dataset that cannot be used. Its message stays one line if a loader worker raises it."""

    def __init__(self, message: str):
        # torch raises it again in the main process, with the worker's traceback in the message.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class BadClips:
    """The record of one dataset's bad clips, in memory that loader workers share.

    Args:
        dataset (`str`): name of the dataset, for messages.
        size (`int`, *optional*): number of its clips. Without it (streaming), clips are told apart by their names.
        strict (`bool`): raise an error for a bad clip.
    """

    STREAM_SLOTS = 2**16

    def __init__(self, dataset: str, size: int | None = None, strict: bool = False):
        self.dataset, self.strict = dataset, strict
        # First row: 0 for clips that are good or not read yet, otherwise 1 + the number of the reason.
        # Second row: 1 for clips that a warning has named.
        self._codes = torch.zeros(2, size or self.STREAM_SLOTS, dtype=torch.uint8).share_memory_()

    def add(self, error: BadClipError, name: str, index: int | None = None) -> None:
        """Records a clip that cannot be used, and warns of it the first time.

        Raises:
            DataError: `strict` is on.
        """
        if self.strict:
            raise DataError(f"{name}: {error}; repair or remove it, or train without --strict")
        slot = zlib.crc32(name.encode()) % self._codes.shape[1] if index is None else index
        if self._codes[0, slot]:
            return
        self._codes[0, slot] = 1 + BadClipError.REASONS.index(error.reason)
        if self.count <= NAMED_AT_ONCE:
            self._codes[1, slot] = 1
            logger.warning(f"{self.dataset}: {name} is skipped: {error}")
        elif self.count == NAMED_AT_ONCE + 1:
            logger.warning(f"{self.dataset}: more clips cannot be used; they are counted")

    def __contains__(self, index: int) -> bool:
        return bool(self._codes[0, index])

    @property
    def count(self) -> int:
        """Number of bad clips so far."""
        return int((self._codes[0] > 0).sum())

    def reasons(self) -> dict[str, int]:
        """Reason → number of bad clips so far."""
        numbers = torch.bincount(self._codes[0].long(), minlength=len(BadClipError.REASONS) + 1)[1:]
        return {reason: int(number) for reason, number in zip(BadClipError.REASONS, numbers) if number}

    def __str__(self) -> str:
        return ", ".join(f"{number} {reason}" for reason, number in self.reasons().items()) or "none"

    def unnamed(self) -> list[int]:
        """Returns the indices of bad clips that no warning has named. From now on they count as named."""
        found = torch.nonzero((self._codes[0] > 0) & (self._codes[1] == 0)).flatten().tolist()
        self._codes[1, found] = 1
        return found


def report_bad_clips(collections: Iterable) -> int:
    """Names the bad clips that no warning has named yet. Returns the number of all bad clips."""
    for collection in collections:
        record = collection.bad_clips
        if names := [collection.name(index) for index in record.unnamed()]:
            logger.warning(f"{record.dataset}: {record.count} clips are skipped ({record}), also {', '.join(names)}")
    return sum(collection.bad_clips.count for collection in collections)
