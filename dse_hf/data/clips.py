"""Collections of single clips, speech or noise, from which stretches of any length are drawn."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np

from .augmentation import RandomSpeed, Waveform
from .bad_clips import BadClips
from .collection import RowCollection
from .columns import check_column, find_audio_column
from .decoding import EncodedClip, RecordingAndCleaned, clip_name, read_clip
from .specs import DatasetSpec, draw_by_weight


def fill_stretch(
    clip: Waveform,
    following: Callable[[], Callable[[], Waveform]],
    length: int,
    rng: np.random.Generator,
    speed: RandomSpeed | None = None,
    max_gap: int = 0,
) -> Waveform:
    """Returns a random stretch (…, C, length) of a clip (…, C, T). If the clip is too short, other clips follow it.

    `following` draws the next clip and returns a function that decodes it. `speed` changes the speed of every clip.
    `max_gap` is the longest silence between two clips, in samples.
    """
    filled, position = np.zeros((*clip.shape[:-1], length), np.float32), 0
    while True:
        if speed is not None:
            clip = speed(clip, rng)
        space = length - position
        start = int(rng.integers(clip.shape[-1] - space + 1)) if clip.shape[-1] > space else 0
        clip = clip[..., start : start + space]
        filled[..., position : position + clip.shape[-1]] = clip
        position += max(clip.shape[-1], 1) + int(rng.uniform(0, 1) * max_gap)
        decode = following()
        if position >= length:
            return filled
        clip = decode()


class ClipCollection(RowCollection):
    """The clips of one split of a dataset, decoded on demand.

    Args:
        spec (`str` or `DatasetSpec`): Hub id, or a local folder (of audio files, with or without a `metadata.csv`).
        split (`str`): the split.
        sampling_rate (`int`): sampling rate in Hz to which every clip is resampled.
        audio_column (`str`, *optional*): by default the column `audio`, or the only column with audio.
        channels (`int`, *optional*, defaults to 1): number of channels. Clips are mixed down to mono, or repeated.
        strict (`bool`, *optional*): raise `DataError` for a clip that cannot be used, instead of skipping it.
        excluded_speakers (`Collection[str]`, *optional*): speakers whose clips are left out. Names that are not among
            the dataset's speakers have no effect.
        cleaned_column (`str`, *optional*): column of the same recordings with less noise. Clips and stretches are then
            (2, C, T) instead of (C, T): the recording and the cleaned recording.
        bandwidth_column (`str`, *optional*): column with the bandwidth of a clip in Hz. A clip without a value has the
            full bandwidth.

    Raises:
        ValueError: there is no such dataset, split or column (the message names the existing ones), the split is
            empty, or every clip is of an excluded speaker.
    """

    def __init__(
        self,
        spec: str | DatasetSpec,
        split: str,
        sampling_rate: int,
        audio_column: str | None = None,
        channels: int = 1,
        strict: bool = False,
        excluded_speakers: Collection[str] = (),
        cleaned_column: str | None = None,
        bandwidth_column: str | None = None,
    ):
        super().__init__(spec, split)
        self.audio_column = find_audio_column(self.dataset, audio_column, str(self.spec))
        if cleaned_column is not None:
            check_column("cleaned_column", cleaned_column, self.dataset.column_names, str(self.spec))
        if bandwidth_column is not None:
            check_column("bandwidth_column", bandwidth_column, self.dataset.column_names, str(self.spec))
        self.cleaned_column = cleaned_column
        self.sampling_rate, self.channels = sampling_rate, channels
        speakers = [str(name) for name in self.dataset["speaker"]] if "speaker" in self.dataset.column_names else []
        self.speakers = set(speakers)  # including the excluded ones
        if self.speakers & set(excluded_speakers):
            kept = [index for index, speaker in enumerate(speakers) if speaker not in excluded_speakers]
            if not kept:
                raise ValueError(f"excluded_speakers leave nothing of {self.spec}: keep one of {len(self.speakers)}")
            self.dataset = self.dataset.select(kept)
        self.bad_clips = BadClips(str(self.spec), len(self.dataset), strict)
        self.bandwidths = list(self.dataset[bandwidth_column]) if bandwidth_column is not None else []
        # Only clips of the same group follow each other: the same speaker, or the same kind of noise.
        column = next((name for name in ("speaker", "kind") if name in self.dataset.column_names), None)
        self.group_of = list(self.dataset[column]) if column else list(range(len(self.dataset)))
        self.groups: dict = {}
        for index, group in enumerate(self.group_of):
            self.groups.setdefault(group, []).append(index)

    def __getitem__(self, index: int) -> Waveform:
        return self._read(index)

    def name(self, index: int) -> str:
        return clip_name(self.dataset[int(index)][self.audio_column], f"row {index}")

    def fill(self, length: int, rng: np.random.Generator, **options) -> Waveform:
        """Returns the stretch that `draw` returns, without its group."""
        return self.draw(length, rng, **options)[1]

    def draw(
        self,
        length: int,
        rng: np.random.Generator,
        speed: RandomSpeed | None = None,
        max_gap: float = 0.0,
        balance: float = 0.0,
        bandwidths: list[float] | None = None,
    ) -> tuple:
        """Draws a random stretch of a random clip. If the clip is too short, clips of the same group follow it.

        Args:
            length (`int`): length of the stretch, in samples.
            rng (`np.random.Generator`): the source of randomness.
            speed (`RandomSpeed`, *optional*): changes the speed of every clip.
            max_gap (`float`): longest silence between two clips, in seconds.
            balance (`float`): how evenly groups are drawn. With 1 all groups are equally likely, with 0 all clips are.
                In between, a group of n clips is drawn in proportion to n to the power of 1 - `balance`.
            bandwidths (`list`, *optional*): the bandwidth of every clip of the stretch, in Hz, is appended to it.

        Returns:
            `tuple`: the name of the group (the speaker or the kind of noise; the number of the clip if the dataset has
            neither column), and the samples (C, length).
        """
        read = partial(self._read, stretch=(2 * length, rng))
        if bandwidths is not None:
            read, speed = self._noting_bandwidths(read, speed, bandwidths)
        if balance > 0:
            groups = list(self.groups.values())
            sizes = np.array([len(group) for group in groups], float) ** (1 - balance)
            shares = None if balance == 1 else sizes / sizes.sum()  # NumPy draws other numbers if shares are given
            group = groups[int(rng.choice(len(groups), p=shares))]
            position = group[int(rng.integers(len(group)))]
        else:
            position = int(rng.integers(len(self)))
        index, clip = self.read_or_next(position, read=read)
        group = self.groups[self.group_of[index]]

        def following() -> Callable[[], Waveform]:
            choice = int(rng.integers(len(group)))
            return lambda: self.read_or_next(choice, group, read)[1]

        gap = round(max_gap * self.sampling_rate)
        return self.group_of[index], fill_stretch(clip, following, length, rng, speed, gap)

    def bandwidth(self, index: int) -> float:
        """The bandwidth of a clip in Hz: at most the highest frequency of the sampling rate."""
        full = self.sampling_rate / 2
        value = float(self.bandwidths[index] or 0) if self.bandwidths else 0.0
        return min(value, full) if value > 0 else full

    def _noting_bandwidths(self, read: Callable, speed: Callable | None, bandwidths: list[float]) -> tuple:
        """Returns `read` and `speed` so that they append the bandwidths of clips, changed by the speed."""

        def read_and_note(index: int) -> Waveform:
            clip = read(index)
            bandwidths.append(self.bandwidth(index))
            return clip

        if speed is None:
            return read_and_note, None

        def change_and_note(clip: Waveform, rng: np.random.Generator) -> Waveform:
            changed = speed(clip, rng)
            bandwidths[-1] *= clip.shape[-1] / max(changed.shape[-1], 1)
            return changed

        return read_and_note, change_and_note

    def _read(self, index: int, stretch: tuple | None = None) -> Waveform:
        row = self.dataset[int(index)]
        recording = EncodedClip(row[self.audio_column])
        if self.cleaned_column is None:
            return read_clip(recording, self.sampling_rate, self.channels, stretch)
        both = RecordingAndCleaned(recording, EncodedClip(row[self.cleaned_column]), self.channels)
        clip = read_clip(both, self.sampling_rate, 2 * self.channels, stretch)
        return clip.reshape(2, self.channels, -1)


class ClipPool:
    """Several collections of clips. Each stretch comes from one of them, drawn by weight."""

    def __init__(self, collections: Sequence[ClipCollection]):
        self.collections = list(collections)
        self.sampling_rate, self.channels = collections[0].sampling_rate, collections[0].channels

    def __len__(self) -> int:
        return sum(len(collection) for collection in self.collections)

    def fill(self, length: int, rng: np.random.Generator, **options) -> Waveform:
        """Returns a stretch of one of the collections, as `ClipCollection.fill` does."""
        choice = draw_by_weight(self.collections, rng) if len(self.collections) > 1 else 0
        return self.collections[choice].fill(length, rng, **options)
