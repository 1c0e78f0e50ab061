"""Training sets whose examples depend on seed, epoch and index only."""

from collections.abc import Sequence

import numpy as np
import torch

from .augmentation import Waveform
from .bad_clips import report_bad_clips


class EpochDataset(torch.utils.data.Dataset):
    """A map-style set. A subclass makes example `index` from a generator in `example`.

    Args:
        size (`int`): number of examples.
        seed (`int`): of all that is drawn.
        collections: the clips behind it, with a record `bad_clips` each.
    """

    def __init__(self, size: int, seed: int, collections: Sequence):
        self.size, self.seed, self.collections = size, seed, list(collections)
        # Shared, so that workers that live on see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return self.size

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Other examples from now on; accelerate's loader calls it. Reports what the last epoch had to skip."""
        self._epoch.fill_(epoch)
        if epoch > 0:
            self.report_bad_clips()

    def report_bad_clips(self) -> int:
        """Warns of clips that were skipped and not yet reported; returns how many were skipped so far."""
        return report_bad_clips(self.collections)

    def __getitem__(self, index: int) -> dict[str, Waveform]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        # Words of 0 at the end change nothing: epoch 0 has the examples of the seed and the index alone.
        return self.example(int(index), np.random.default_rng((self.seed, int(index), self.epoch)))

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Waveform]:
        raise NotImplementedError
