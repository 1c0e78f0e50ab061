"""Training examples from datasets that are read while training."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from .arguments import DataArguments
from .augmentation import RandomSpeed, Waveform, remix
from .clips import lay_out
from .columns import find_audio_column, find_layout, known_columns
from .decoding import EncodedClip, clip_name, read_clip
from .effects import example
from .mixtures import Mixer
from .parallel import ParallelEffects, ParallelReader
from .row_streams import RowStream, Share, interleave


# Decoded clips that a worker keeps, to mix others with.
RECENT_CLIPS = 32


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
        balance: float = 0.0,
    ) -> Waveform:
        """As `ClipCollection.fill`, from recent clips. `balance` is ignored: groups come as they come."""
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
