"""Parallel recordings: pairs (noisy and clean) and stems, as windows for training and as whole clips."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..audio import resample
from .arguments import DataArguments
from .augmentation import RandomGain, Waveform, remix
from .bad_clips import BadClips, DataError
from .columns import Layout, find_layout, known_columns
from .decoding import LONG_CLIP, BadClipError, EncodedClip, clip_name, decode_stretch, is_silent, to_channels
from .effects import Effects, example
from .epochs import EpochDataset
from .loading import load_split
from .specs import DatasetSpec


# Recordings of the same moment may differ in length by this many seconds.
MAX_LENGTH_DIFFERENCE = 0.1


class ParallelReader:
    """Reads the sources of a row.

    Args:
        layout (`Layout`): which columns make which source.
        sampling_rate, channels (`int`): of what is read.
    """

    def __init__(self, layout: Layout, sampling_rate: int, channels: int):
        self.layout, self.sampling_rate, self.channels = layout, sampling_rate, channels

    def name(self, row: Mapping, fallback: str) -> str:
        """What a person knows the row by."""
        return clip_name(row.get(self.layout.columns[0]), str(row.get("name") or fallback))

    def whole(self, row: Mapping) -> Waveform:
        """All sources of a row, (K, C, T).

        Raises:
            BadClipError: a column cannot be used, or the mixture or a pair's clean recording is silent.
        """
        return self._checked(self._decode_whole(self._open(row)))

    def window(self, row: Mapping, length: int, rng: np.random.Generator) -> Waveform:
        """The sources from a random place, (K, C, length); a shorter row lies at a random place in silence."""
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
        waveforms = {
            name: resample(to_channels(clip.read(), self.channels), clip.rate, self.sampling_rate).T
            for name, clip in clips.items()
        }
        shortest = min(waveform.shape[-1] for waveform in waveforms.values())
        return {name: waveform[:, :shortest] for name, waveform in waveforms.items()}

    def _sources(self, waveforms: Mapping[str, Waveform]) -> Waveform:
        parts = [sum(waveforms[column] for column in columns) for columns in self.layout.sources]
        for index, columns in enumerate(self.layout.sources):
            if not columns:  # at most one: what the others leave of the mixture
                parts[index] = waveforms[self.layout.mixture] - sum(parts)
        return np.stack(parts)

    def _checked(self, waveforms: Mapping[str, Waveform]) -> Waveform:
        sources = self._sources(waveforms)
        if is_silent(sources.sum(axis=0)):
            raise BadClipError("silent", "silent from start to end")
        if self.layout.is_pair and is_silent(sources[0]):
            raise BadClipError("silent", f"{self.layout.sources[0][0]}: silent from start to end")
        return sources


def cut(sources: Waveform, start: int, length: int) -> Waveform:
    """Samples `start` to `start + length`, with silence in front (negative starts) and behind."""
    window = sources[..., max(start, 0) : max(start + length, 0)]
    before = min(max(-start, 0), length)
    return np.pad(window, ((0, 0), (0, 0), (before, length - before - window.shape[-1])))


class ParallelCollection:
    """Rows of a dataset of pairs or stems.

    Args:
        spec (`str` or `DatasetSpec`): the dataset.
        split (`str`): the split.
        arguments (`DataArguments`): shape, columns, `strict`.
        sources (`Sequence[str]`): the model's sources; the first is a pair's clean recording.
        sampling_rate, channels (`int`): of what is read.

    Raises:
        ValueError: no such dataset, split or column, or an empty split; names those there are.
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
        self.spec = DatasetSpec.parse(spec)
        self.dataset = load_split(self.spec, split, columns=known_columns(arguments, sources))
        if len(self.dataset) == 0:
            raise ValueError(f"split {self.spec.split or split!r} of {self.spec} is empty: name another one")
        self.reader = ParallelReader(
            find_layout(self.dataset, arguments, sources, str(self.spec)), sampling_rate, channels
        )
        self.bad_clips = BadClips(str(self.spec), len(self.dataset), arguments.strict)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Waveform:
        """All sources of a row, (K, C, T).

        Raises:
            BadClipError: it cannot be used.
        """
        return self.reader.whole(self.dataset[int(index)])

    def name(self, index: int) -> str:
        return self.reader.name(self.dataset[int(index)], f"row {index}")

    def window(self, index: int, length: int, rng: np.random.Generator) -> Waveform:
        """A random window (K, C, length) of row `index`, or of the next one that can be used.

        Raises:
            DataError: no row can be used; or, with `strict`, one cannot.
        """
        for offset in range(len(self)):
            found = (index + offset) % len(self)
            if found in self.bad_clips:
                continue
            try:
                return self.reader.window(self.dataset[found], length, rng)
            except BadClipError as error:
                self.bad_clips.add(error, self.name(found), found)
        raise DataError(f"dataset {self.spec}: none of its {len(self)} clips can be used")


class ParallelEffects:
    """Augmentation of windows (K, C, T): gains, room, clipping and band limit."""

    def __init__(self, sampling_rate: int, arguments: DataArguments):
        self.gain = RandomGain(arguments.gain_db) if arguments.augment and arguments.gain_db else None
        self.effects = Effects(sampling_rate, arguments)

    def __call__(self, sources: Waveform, rng: np.random.Generator) -> Waveform:
        sources = np.stack([self.effects.foreground(sources[0], rng), *sources[1:]])
        if self.gain is not None:
            sources = np.stack([self.gain(source, rng) for source in sources])
        return self.effects.sources(sources, rng)


class ParallelWindows(EpochDataset):
    """Windows of pairs or stems: example i depends on the seed, the epoch and i only, whatever the workers.

    One collection is gone through in a random order, every clip once before any comes again; of several, one is
    drawn by weight for every example.

    Args:
        collections (`Sequence[ParallelCollection]`): where the windows come from.
        length (`int`): samples T of an example.
        size (`int`): number of examples.
        arguments (`DataArguments`): augmentation.
        seed (`int`): of all that is drawn.
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
        weights = np.array([collection.spec.weight for collection in collections])
        self.shares = weights / weights.sum()
        self.order = np.random.default_rng(seed).permutation(len(collections[0]))
        self.remix_share = arguments.remix_share if arguments.augment else 0.0
        self.augmentation = ParallelEffects(collections[0].reader.sampling_rate, arguments)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Waveform]:
        if len(self.collections) == 1:
            row = int(self.order[(self.epoch * self.size + index) % len(self.order)])
            sources = self.collections[0].window(row, self.length, rng)
        else:
            sources = self._any_window(rng)
        if self.remix_share > 0 and rng.uniform() < self.remix_share:
            sources = remix([sources, *(self._any_window(rng) for _ in sources[1:])])
        return example(self.augmentation(sources, rng))

    def _any_window(self, rng: np.random.Generator) -> Waveform:
        collection = self.collections[int(rng.choice(len(self.shares), p=self.shares))]
        return collection.window(int(rng.integers(len(collection))), self.length, rng)
