"""Parallel recordings: pairs (noisy and clean) and stems, as windows for training and as whole clips."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .arguments import DataArguments
from .augmentation import RandomGain, Waveform, remix
from .bad_clips import BadClips
from .collection import RowCollection
from .columns import Layout, find_layout, known_columns
from .decoding import LONG_CLIP, BadClipError, EncodedClip, clip_name, decode_stretch, decode_whole, is_silent
from .effects import Effects, as_example, versions
from .epochs import EpochDataset
from .specs import DatasetSpec, draw_by_weight


# Largest difference in length between parallel recordings, in seconds.
MAX_LENGTH_DIFFERENCE = 0.1


class ParallelReader:
    """Reads the sources of a row, in the form of the model's input."""

    def __init__(self, layout: Layout, sampling_rate: int, channels: int):
        self.layout, self.sampling_rate, self.channels = layout, sampling_rate, channels

    def name(self, row: Mapping, fallback: str) -> str:
        """The name of a row in messages: the path of its first recording, its column `name`, or `fallback`."""
        return clip_name(row.get(self.layout.columns[0]), str(row.get("name") or fallback))

    def whole(self, row: Mapping) -> Waveform:
        """Returns all sources of a row, (K, C, T), or raises `BadClipError`."""
        return self._checked(self._decode_whole(self._open(row)))

    def window(self, row: Mapping, length: int, rng: np.random.Generator) -> Waveform:
        """Returns the sources from a random place, (K, C, length). A shorter row is padded with silence around it."""
        clips = self._open(row)
        total = min(clip.frames * self.sampling_rate // clip.rate for clip in clips.values())
        start = int(rng.integers(min(total - length, 0), max(total - length, 0) + 1))
        if total <= LONG_CLIP * self.sampling_rate:
            return cut(self._checked(self._decode_whole(clips)), start, length)
        stretch = (start, length, self.sampling_rate, self.channels)
        return self._sources({name: decode_stretch(clip, *stretch) for name, clip in clips.items()})

    def _open(self, row: Mapping) -> dict[str, EncodedClip]:
        clips = {}
        for column in self.layout.columns:
            try:
                clips[column] = EncodedClip(row[column])
            except BadClipError as error:
                raise BadClipError(error.reason, f"{column}: {error}") from error
        seconds = [clip.frames / clip.rate for clip in clips.values()]
        if max(seconds) - min(seconds) > MAX_LENGTH_DIFFERENCE:
            lengths = ", ".join(f"{name} {length:.2f} s" for name, length in zip(clips, seconds))
            raise BadClipError("unequal lengths", f"lengths differ: {lengths}")
        return clips

    def _decode_whole(self, clips: Mapping[str, EncodedClip]) -> dict[str, Waveform]:
        waveforms = {name: decode_whole(clip, self.sampling_rate, self.channels) for name, clip in clips.items()}
        shortest = min(waveform.shape[-1] for waveform in waveforms.values())
        return {name: waveform[:, :shortest] for name, waveform in waveforms.items()}

    def _sources(self, waveforms: Mapping[str, Waveform]) -> Waveform:
        parts = [sum(waveforms[column] for column in columns) for columns in self.layout.sources]
        for index, columns in enumerate(self.layout.sources):
            if not columns:  # At most one source has no column: it is the rest of the mixture.
                parts[index] = waveforms[str(self.layout.mixture)] - sum(parts)
        return np.stack(parts)

    def _checked(self, waveforms: Mapping[str, Waveform]) -> Waveform:
        sources = self._sources(waveforms)
        if is_silent(sources.sum(axis=0)):
            raise BadClipError("silent", "silent from start to end")
        if self.layout.is_pair and is_silent(sources[0]):
            raise BadClipError("silent", f"{self.layout.sources[0][0]}: silent from start to end")
        return sources


def cut(sources: Waveform, start: int, length: int) -> Waveform:
    """Returns samples `start` to `start + length`, with silence before the first sample and after the last one."""
    window = sources[..., max(start, 0) : max(start + length, 0)]
    before = min(max(-start, 0), length)
    return np.pad(window, ((0, 0), (0, 0), (before, length - before - window.shape[-1])))


class ParallelCollection(RowCollection):
    """The rows of one split of a dataset of pairs or stems.

    Args:
        spec (`str` or `DatasetSpec`): the dataset.
        split (`str`): the split.
        arguments (`DataArguments`): shape, columns and `strict`.
        sources (`Sequence[str]`): names of the model's sources. The first one is the clean recording of a pair.
        sampling_rate, channels (`int`): sampling rate in Hz and number of channels of the result.

    Raises:
        ValueError: there is no such dataset, split or column (the message names the existing ones), or the split is
            empty.
    """

    def __init__(
        self,
        spec: str | DatasetSpec,
        split: str,
        arguments: DataArguments,
        sources: Sequence[str],
        sampling_rate: int,
        channels: int = 1,
    ):
        super().__init__(spec, split, known_columns(arguments, sources))
        layout = find_layout(self.dataset, arguments, sources, str(self.spec))
        self.reader = ParallelReader(layout, sampling_rate, channels)
        self.bad_clips = BadClips(str(self.spec), len(self.dataset), arguments.strict)

    def __getitem__(self, index: int) -> Waveform:
        return self.reader.whole(self.dataset[int(index)])

    def name(self, index: int) -> str:
        return self.reader.name(self.dataset[int(index)], f"row {index}")

    def window(self, index: int, length: int, rng: np.random.Generator) -> Waveform:
        """Returns a random window (K, C, length) of row `index`, or of the next row that can be used."""
        return self.read_or_next(index, read=lambda row: self.reader.window(self.dataset[row], length, rng))[1]


class ParallelExamples:
    """Makes examples of windows (K, C, T): remixing, rooms, clipping, gains and band limit."""

    def __init__(self, sampling_rate: int, arguments: DataArguments):
        self.remix_share = arguments.remix_share if arguments.augment else 0.0
        self.gain = RandomGain(arguments.gain_db) if arguments.augment and arguments.gain_db else None
        self.effects = Effects(sampling_rate, arguments)

    def __call__(self, sources: Waveform, draw_other: Callable[[], Waveform], rng: np.random.Generator) -> dict:
        """Makes an example of a window; `draw_other` draws the windows that its sources are remixed with."""
        if self.remix_share > 0 and rng.uniform() < self.remix_share:
            sources = remix([sources, *(draw_other() for _ in sources[1:])])
        recording, foreground = versions(self.effects.foreground(sources[0], rng))
        sources = np.stack([foreground, *sources[1:]])
        sources[-1] += recording - foreground
        if self.gain is not None:
            sources = np.stack([self.gain(source, rng) for source in sources])
        return as_example(self.effects.sources(sources, rng))


class ParallelWindows(EpochDataset):
    """Windows of pairs or stems. Example i depends only on the seed, the epoch and i, whatever the loader workers.

    A single collection is read in a random order: no clip comes again before all have come. Of several collections,
    one is drawn by weight for every example.

    Args:
        collections (`Sequence[ParallelCollection]`): the recordings.
        length (`int`): length T of an example, in samples.
        size (`int`): number of examples.
        arguments (`DataArguments`): the augmentation.
        seed (`int`): seed of all random draws.
    """

    def __init__(
        self,
        collections: Sequence[ParallelCollection],
        length: int,
        size: int,
        arguments: DataArguments,
        seed: int = 0,
    ):
        super().__init__(size, seed, collections)
        self.length = length
        self.order = np.random.default_rng(seed).permutation(len(collections[0]))
        self.make_example = ParallelExamples(collections[0].reader.sampling_rate, arguments)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Waveform]:
        if len(self.collections) == 1:
            row = int(self.order[(self.epoch * self.size + index) % len(self.order)])
            sources = self.collections[0].window(row, self.length, rng)
        else:
            sources = self._any_window(rng)
        return self.make_example(sources, lambda: self._any_window(rng), rng)

    def _any_window(self, rng: np.random.Generator) -> Waveform:
        collection = self.collections[draw_by_weight(self.collections, rng)]
        return collection.window(int(rng.integers(len(collection))), self.length, rng)
