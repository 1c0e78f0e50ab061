"""Rows of streamed datasets: divided among processes and loader workers, shuffled by a buffer, mixed by weight."""

import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import signature

import torch
from torch.utils.data import get_worker_info

from .arguments import DataArguments
from .bad_clips import BadClips, DataError
from .decoding import BadClipError
from .loading import load_split
from .specs import DatasetSpec, draw_by_weight


# Each epoch of the training has so many numbers for passes over a stream: a pass has an order of its own.
PASSES_PER_EPOCH = 2**20


class WorkerShare:
    """The part of a stream that belongs to this process (`rank` of `world_size`) and this loader worker."""

    def __init__(self, rank: int | None = None, world_size: int | None = None):
        distributed = torch.distributed
        if rank is None and distributed.is_available() and distributed.is_initialized():
            rank, world_size = distributed.get_rank(), distributed.get_world_size()
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.world_size = int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size

    @property
    def worker(self) -> tuple[int, int]:
        """The number of this loader worker, and the number of all workers of this process."""
        info = get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)

    def of(self, examples: int) -> int:
        """This worker's part of a number of examples. All processes get the same number, so that none has to wait."""
        worker, workers = self.worker
        per_process = -(-examples // self.world_size)
        return per_process // workers + (worker < per_process % workers)


class RowStream:
    """The rows of a streamed dataset, in a new order in every pass.

    If there are fewer rows than workers and `may_repeat` (for noise), each worker gets all rows.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        split: str,
        arguments: DataArguments,
        seed: int,
        columns: Collection[str] = (),
        may_repeat: bool = False,
    ):
        self.spec, self.share, self.may_repeat = spec, WorkerShare(), may_repeat
        self.source = load_split(spec, split, streaming=True, columns=columns)
        # Versions of `datasets` that read several shards at once wait for seconds after every pass.
        known = signature(self.source.shuffle).parameters
        options = {"max_buffer_input_shards": 1} if "max_buffer_input_shards" in known else {}
        self.dataset = self.source.shuffle(seed=seed, buffer_size=arguments.shuffle_buffer, **options)
        self.bad_clips = BadClips(str(spec), strict=arguments.strict)

    def rows(self, pass_number: int, divided: bool = True) -> Iterator[Mapping]:
        """Gives this worker's rows. If `divided`, no other worker of any process has them in this pass."""
        from datasets.distributed import split_dataset_by_node

        if not divided:
            self.dataset.set_epoch(pass_number)
            return _one_by_one(self.dataset)
        dataset = split_dataset_by_node(self.dataset, self.share.rank, self.share.world_size)
        dataset.set_epoch(pass_number)
        worker, workers = self.share.worker
        if dataset.num_shards >= workers:
            return iter(dataset)  # It gives each worker its own shards.
        # With fewer shards than workers, `datasets` would leave some workers idle. Rows are cheap until decoded.
        return itertools.islice(_one_by_one(dataset), worker, None, workers)

    def read(self, read: Callable[[Mapping], object], name: Callable[[Mapping], str], epoch: int) -> Iterator:
        """Gives `read(row)` of every row that can be used, pass after pass without end, and None after each pass.

        Raises `DataError` if no row of a whole pass can be used, or if one cannot and `strict` is on.
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
    """Gives all rows: unlike `iter(dataset)`, `dataset.iter` does not divide them among the loader's workers."""
    import fsspec

    if get_worker_info() is not None:
        fsspec.asyn.reset_lock()  # A forked lock would hang. `iter(dataset)` resets it, too.
    for batch in dataset.iter(batch_size=1):
        yield {name: column[0] for name, column in batch.items()}


def interleave(streams: Sequence[RowStream], items: Sequence[Iterator], rng, once: bool) -> Iterator:
    """Draws by weight from what `RowStream.read` gives: without end, or with `once` until all had a pass."""
    finished: set[int] = set()
    while not once or len(finished) < len(streams):
        choice = draw_by_weight(streams, rng) if len(streams) > 1 else 0
        item = next(items[choice])
        if item is None:
            finished.add(choice)
        else:
            yield item
