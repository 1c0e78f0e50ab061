"""Training examples from datasets that are read during training."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from .arguments import DataArguments
from .augmentation import Waveform
from .clips import fill_stretch
from .columns import find_audio_column, find_layout, known_columns
from .decoding import EncodedClip, clip_name, read_clip
from .epochs import SharedEpoch
from .mixtures import Mixer
from .parallel import ParallelExamples, ParallelReader
from .row_streams import RowStream, WorkerShare, interleave


# Number of decoded clips that a worker keeps, to mix others with them.
RECENT_CLIPS = 32


class StreamedSet(SharedEpoch, torch.utils.data.IterableDataset):
    """Training examples from streams. A subclass makes them in `examples`.

    An epoch has `size` examples over all processes; without a size, it is one pass over the streams.
    """

    def __init__(self, streams: Sequence[RowStream], size: int | None, seed: int):
        super().__init__()
        self.streams, self.size, self.seed, self.share = list(streams), size, seed, WorkerShare()

    def report_bad_clips(self) -> int:
        """Returns the number of clips that were skipped so far. Each was named in a warning when it was read."""
        return sum(stream.bad_clips.count for stream in self.streams)

    def __iter__(self) -> Iterator[dict[str, Waveform]]:
        rng = np.random.default_rng((self.seed, self.epoch, self.share.rank, self.share.worker[0]))
        examples = self.examples(rng)
        return examples if self.size is None else itertools.islice(examples, self.share.of(self.size))

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        """Gives the examples of one pass over all streams; with a `size`, gives examples without end."""
        raise NotImplementedError


class StreamedWindows(StreamedSet):
    """Windows of `length` samples of streamed pairs or stems."""

    def __init__(self, specs, split: str, arguments: DataArguments, config, length: int, size, seed: int):
        columns = known_columns(arguments, config.sources)
        super().__init__([RowStream(spec, split, arguments, seed, columns) for spec in specs], size, seed)
        layouts = [find_layout(stream.source, arguments, config.sources, str(stream.spec)) for stream in self.streams]
        self.readers = [ParallelReader(layout, config.sampling_rate, config.channels) for layout in layouts]
        self.length = length
        self.make_example = ParallelExamples(config.sampling_rate, arguments)

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        windows = [
            stream.read(
                partial(reader.window, length=self.length, rng=rng), partial(reader.name, fallback="a row"), self.epoch
            )
            for stream, reader in zip(self.streams, self.readers)
        ]
        recent: deque[Waveform] = deque(maxlen=RECENT_CLIPS)
        for sources in interleave(self.streams, windows, rng, once=self.size is None):
            recent.append(sources)
            yield self.make_example(sources, lambda: recent[int(rng.integers(len(recent)))], rng)


class RecentClips:
    """The clips of a stream, from which stretches are drawn as from a `ClipCollection`.

    `clips` gives pairs of a group (the speaker or the kind of noise) and samples (C, T).
    """

    def __init__(self, clips: Iterator[tuple], sampling_rate: int, channels: int):
        self.clips, self.sampling_rate, self.channels = clips, sampling_rate, channels
        self.recent: deque[tuple] = deque(maxlen=RECENT_CLIPS)
        self._start_with_newest = False

    def read_next(self) -> bool:
        """Reads the next clip. The next `fill` starts with it. Returns False after the last clip."""
        clip = next(self.clips, None)
        if clip is not None:
            self.recent.append(clip)
        self._start_with_newest = True
        return clip is not None

    def fill(self, length: int, rng: np.random.Generator, speed=None, max_gap: float = 0.0, **_) -> Waveform:
        """As `ClipCollection.fill`, from recent clips. `balance` has no effect: a stream has its own order."""
        number = -1 if self._start_with_newest else int(rng.integers(len(self.recent)))
        self._start_with_newest = False
        group, clip = self.recent[number]
        same = [other for name, other in self.recent if name == group and name is not None] or [clip]

        def following() -> Callable[[], Waveform]:
            choice = same[int(rng.integers(len(same)))]
            return lambda: choice

        return fill_stretch(clip, following, length, rng, speed, round(max_gap * self.sampling_rate))


class StreamedMixtures(StreamedSet):
    """Mixtures of streamed speech with streamed noise. An epoch is a pass over the speech."""

    def __init__(self, speech, noise, split: str, arguments: DataArguments, config, length: int, size, seed: int):
        self.speech = [RowStream(spec, split, arguments, seed) for spec in speech]
        self.noise = [RowStream(spec, split, arguments, seed, may_repeat=True) for spec in noise]
        super().__init__([*self.speech, *self.noise], size, seed)
        self.column = arguments.audio_column
        self.sampling_rate, self.channels, self.length = config.sampling_rate, config.channels, length
        self.mixer = Mixer(config.sampling_rate, length, arguments)

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, Waveform]]:
        speech = self._clips(self.speech, rng, once=self.size is None)
        noise = self._clips(self.noise, rng, once=False)
        while speech.read_next():
            noise.read_next()
            yield self.mixer(speech, noise, rng)

    def _clips(self, streams: Sequence[RowStream], rng: np.random.Generator, once: bool) -> RecentClips:
        """The clips of several streams. Of a long clip only a stretch of a few windows is kept."""
        stretch = (4 * self.length, rng)

        def read(row: Mapping, column: str) -> tuple:
            clip = read_clip(EncodedClip(row[column]), self.sampling_rate, self.channels, stretch)
            return row.get("speaker") or row.get("kind"), clip

        def clips_of(stream: RowStream) -> Iterator:
            column = find_audio_column(stream.source, self.column, str(stream.spec))
            return stream.read(lambda row: read(row, column), lambda row: clip_name(row[column], "a row"), self.epoch)

        items = [clips_of(stream) for stream in streams]
        return RecentClips(interleave(streams, items, rng, once), self.sampling_rate, self.channels)
