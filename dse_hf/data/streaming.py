"""Training on datasets that are read while training: split among nodes and loader workers, shuffled by a buffer."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import signature

import numpy as np
import torch
from torch.utils.data import get_worker_info

from ..augmentation import RandomSpeed, Waveform, remix
from .arguments import DataArguments
from .bad_clips import BadClips, DataError
from .clips import lay_out
from .columns import find_audio_column, find_layout, known_columns
from .decoding import BadClipError, EncodedClip, clip_name, read_clip
from .effects import example
from .loading import load_split
from .mixtures import Mixer
from .parallel import ParallelEffects, ParallelReader
from .specs import DatasetSpec


# Passes over a stream have epochs of their own, this far apart for two epochs of the training.
PASSES_PER_EPOCH = 2**20
# Decoded clips that a worker keeps, to mix others with.
RECENT_CLIPS = 32


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
    for batch in dataset.iter(batch_size=1):
        yield {name: column[0] for name, column in batch.items()}


class StreamedSet(torch.utils.data.IterableDataset):
    """Training examples from streams. A subclass makes them in `examples`.

    Args:
        streams (`Sequence[RowStream]`): those whose passes make an epoch.
        size (`int`, *optional*): number of examples in an epoch, over all processes; by default one pass over all.
        seed (`int`): of all that is drawn.
        share (`Share`): this process.
    """

    def __init__(self, streams: Sequence[RowStream], size: int | None, seed: int, share: Share):
        self.streams, self.size, self.seed, self.share = list(streams), size, seed, share
        # Shared, so that workers that live on see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Another order and other windows from now on."""
        self._epoch.fill_(epoch)

    def report_bad_clips(self) -> int:
        """How many clips were skipped so far; each was named when it was met."""
        return sum(stream.bad_clips.count for stream in self.streams)

    def __iter__(self) -> Iterator[dict[str, Waveform]]:
        rng = np.random.default_rng((self.seed, self.epoch, self.share.rank, self.share.worker[0]))
        examples = self.examples(rng)
        return examples if self.size is None else itertools.islice(examples, self.share.of(self.size))

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        """Examples of a pass over all streams, or with `size` without end."""
        raise NotImplementedError


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


class StreamedWindows(StreamedSet):
    """Windows of streamed pairs or stems.

    Args:
        specs (`Sequence[DatasetSpec]`): the datasets.
        split (`str`): the split.
        arguments (`DataArguments`): columns, augmentation, buffer.
        config: the model's, see `build_training_set`.
        length (`int`): samples T of an example.
        size, seed, share: see `StreamedSet`.
    """

    def __init__(
        self, specs, split: str, arguments: DataArguments, config, length: int, size, seed: int, share: Share
    ):
        columns = known_columns(arguments, config.sources)
        streams = [RowStream(spec, split, arguments, seed, share, columns) for spec in specs]
        super().__init__(streams, size, seed, share)
        self.readers = [
            ParallelReader(
                find_layout(stream.source, arguments, config.sources, str(stream.spec)),
                config.sampling_rate,
                config.channels,
            )
            for stream in streams
        ]
        self.length = length
        self.remix_share = arguments.remix_share if arguments.augment else 0.0
        self.augmentation = ParallelEffects(config.sampling_rate, arguments)

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        windows = [
            stream.read(
                lambda row, reader=reader: reader.window(row, self.length, rng),
                lambda row, reader=reader: reader.name(row, "a row"),
                self.epoch,
            )
            for stream, reader in zip(self.streams, self.readers)
        ]
        recent: deque[Waveform] = deque(maxlen=RECENT_CLIPS)
        for sources in interleave(self.streams, windows, rng, once=self.size is None):
            recent.append(sources)
            if self.remix_share > 0 and rng.uniform() < self.remix_share:
                sources = remix([sources, *(recent[int(rng.integers(len(recent)))] for _ in sources[1:])])
            yield example(self.augmentation(sources, rng))


class RecentClips:
    """Clips of a stream, drawn as from a `ClipCollection`: the next one, and on with recent ones of its group.

    Args:
        clips (`Iterator`): gives pairs of a group (speaker, kind) and samples (C, T).
        sampling_rate, channels (`int`): of the clips.
    """

    def __init__(self, clips: Iterator[tuple], sampling_rate: int, channels: int):
        self.clips, self.sampling_rate, self.channels = clips, sampling_rate, channels
        self.recent: deque[tuple] = deque(maxlen=RECENT_CLIPS)
        self._start_with_newest = False

    def take(self) -> bool:
        """Reads the next clip, which the next `fill` starts with; False after the last one."""
        clip = next(self.clips, None)
        if clip is not None:
            self.recent.append(clip)
        self._start_with_newest = True
        return clip is not None

    def fill(
        self,
        length: int,
        rng: np.random.Generator,
        speed: RandomSpeed | None = None,
        max_gap: float = 0.0,
        kinds_equally: bool = False,
    ) -> Waveform:
        """As `ClipCollection.fill`, from recent clips. `kinds_equally` is ignored: kinds come as they come."""
        number = -1 if self._start_with_newest else int(rng.integers(len(self.recent)))
        self._start_with_newest = False
        group, clip = self.recent[number]
        same = [other for name, other in self.recent if name == group and name is not None] or [clip]

        def following() -> Callable[[], Waveform]:
            choice = same[int(rng.integers(len(same)))]
            return lambda: choice

        return lay_out(clip, following, length, rng, speed, round(max_gap * self.sampling_rate))


class StreamedMixtures(StreamedSet):
    """Mixtures of streamed speech with streamed noise; a pass over the speech is an epoch.

    Args:
        speech, noise (`Sequence[DatasetSpec]`): the datasets.
        split, arguments, config, length, size, seed, share: see `StreamedWindows`.
    """

    def __init__(
        self, speech, noise, split: str, arguments: DataArguments, config, length: int, size, seed: int, share: Share
    ):
        self.speech = [RowStream(spec, split, arguments, seed, share) for spec in speech]
        self.noise = [RowStream(spec, split, arguments, seed, share, may_repeat=True) for spec in noise]
        super().__init__([*self.speech, *self.noise], size, seed, share)
        self.column = arguments.audio_column
        self.sampling_rate, self.channels, self.length = config.sampling_rate, config.channels, length
        self.mixer = Mixer(config.sampling_rate, length, arguments)

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        speech = self._clips(self.speech, rng, once=self.size is None)
        noise = self._clips(self.noise, rng, once=False)
        while speech.take():
            noise.take()
            yield self.mixer(speech, noise, rng)

    def _clips(self, streams: Sequence[RowStream], rng: np.random.Generator, once: bool) -> RecentClips:
        """Clips of several streams. Of long ones a stretch of some windows is kept."""
        stretch = (4 * self.length, rng)

        def read(row: Mapping, column: str) -> tuple:
            clip = read_clip(EncodedClip(row[column]), self.sampling_rate, self.channels, stretch)
            return row.get("speaker") or row.get("kind"), clip

        def clips_of(stream: RowStream) -> Iterator:
            column = find_audio_column(stream.source, self.column, str(stream.spec))
            return stream.read(lambda row: read(row, column), lambda row: clip_name(row[column], "a row"), self.epoch)

        items = [clips_of(stream) for stream in streams]
        return RecentClips(interleave(streams, items, rng, once), self.sampling_rate, self.channels)
