"""Rows of streamed datasets: split among processes and loader workers, shuffled by a buffer, mixed by weight."""

import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import signature

import numpy as np
import torch
from torch.utils.data import get_worker_info

from .arguments import DataArguments
from .bad_clips import BadClips, DataError
from .decoding import BadClipError
from .loading import load_split
from .specs import DatasetSpec


# Passes over a stream have epochs of their own, this far apart for two epochs of the training.
PASSES_PER_EPOCH = 2**20


class Share:
    """Which part of a stream is this loader worker's, of this process's.

    Args:
        rank, world_size (`int`, *optional*): of this process; by default those of `torch.distributed`, or of the
            environment variables `RANK` and `WORLD_SIZE`.
    """

    def __init__(self, rank: int | None = None, world_size: int | None = None):
        distributed = torch.distributed
        if rank is None and distributed.is_available() and distributed.is_initialized():
            rank, world_size = distributed.get_rank(), distributed.get_world_size()
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.world_size = int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size

    @property
    def worker(self) -> tuple[int, int]:
        """Number of this loader worker, and how many there are."""
        info = get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)

    def of(self, examples: int) -> int:
        """This worker's part of a number of examples; processes get equally many, so that none waits for another."""
        worker, workers = self.worker
        per_process = -(-examples // self.world_size)
        return per_process // workers + (worker < per_process % workers)


class RowStream:
    """The rows of a streamed dataset, in another order in every pass.

    Args:
        spec (`DatasetSpec`): the dataset.
        split (`str`): the split.
        arguments (`DataArguments`): `shuffle_buffer` and `strict`.
        seed (`int`): of the order.
        share (`Share`): this process.
        columns (`Collection[str]`): see `load_split`.
        may_repeat (`bool`): where there are fewer rows than workers, all workers have all rows (for noise).
    """

    def __init__(
        self,
        spec: DatasetSpec,
        split: str,
        arguments: DataArguments,
        seed: int,
        share: Share,
        columns: Collection[str] = (),
        may_repeat: bool = False,
    ):
        self.spec, self.share, self.may_repeat = spec, share, may_repeat
        self.source = load_split(spec, split, streaming=True, columns=columns)
        # Where `datasets` can read several shards at once, it waits for seconds after every pass: one at a time.
        known = signature(self.source.shuffle).parameters
        options = {"max_buffer_input_shards": 1} if "max_buffer_input_shards" in known else {}
        self.dataset = self.source.shuffle(seed=seed, buffer_size=arguments.shuffle_buffer, **options)
        self.bad_clips = BadClips(str(spec), strict=arguments.strict)

    def rows(self, pass_number: int, divided: bool = True) -> Iterator[Mapping]:
        """This worker's rows; no other worker, of this process or another, has them in this pass if `divided`."""
        from datasets.distributed import split_dataset_by_node

        if not divided:
            self.dataset.set_epoch(pass_number)
            return _one_by_one(self.dataset)
        dataset = split_dataset_by_node(self.dataset, self.share.rank, self.share.world_size)
        dataset.set_epoch(pass_number)
        worker, workers = self.share.worker
        if dataset.num_shards >= workers:
            return iter(dataset)  # which gives each worker shards of its own
        # Fewer shards than workers: `datasets` would leave some idle. Rows are cheap until they are decoded.
        return itertools.islice(_one_by_one(dataset), worker, None, workers)

    def read(self, read: Callable[[Mapping], object], name: Callable[[Mapping], str], epoch: int) -> Iterator:
        """`read(row)` of every row that can be used, pass after pass without end; None after each pass.

        Raises:
            DataError: a whole pass has no row that can be used; or, with `strict`, one row cannot.
        """
        divided = True
        for number in itertools.count(epoch * PASSES_PER_EPOCH):
            seen = used = 0
            for row in self.rows(number, divided):
                seen += 1
                try:
                    result = read(row)
                except BadClipError as error:
                    self.bad_clips.add(error, name(row))
                    continue
                used += 1
                yield result
            if not seen and divided and self.may_repeat:
                divided = False
                continue
            if not used:
                raise DataError(
                    f"dataset {self.spec}: none of {seen} clips can be used"
                    if seen
                    else f"dataset {self.spec}: has fewer clips than there are processes and loader workers "
                    f"({self.share.world_size} × {self.share.worker[1]}); use fewer, or leave out streaming"
                )
            yield None


def _one_by_one(dataset) -> Iterator[Mapping]:
    """All rows: unlike `iter(dataset)`, `dataset.iter` does not look at the loader's worker."""
    import fsspec

    if get_worker_info() is not None:
        fsspec.asyn.reset_lock()  # as `iter(dataset)` does: a forked one would hang
    for batch in dataset.iter(batch_size=1):
        yield {name: column[0] for name, column in batch.items()}


def interleave(streams: Sequence[RowStream], items: Sequence[Iterator], rng, once: bool) -> Iterator:
    """Draws from the streams' `read` by weight, until all have had a pass (`once`), or without end."""
    weights = np.array([stream.spec.weight for stream in streams])
    finished: set[int] = set()
    while not once or len(finished) < len(streams):
        choice = int(rng.choice(len(streams), p=weights / weights.sum())) if len(streams) > 1 else 0
        item = next(items[choice])
        if item is None:
            finished.add(choice)
        else:
            yield item
