"""Collections of single clips, speech or noise, from which stretches of any length are drawn."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from .augmentation import RandomSpeed, Waveform
from .bad_clips import BadClips, DataError
from .columns import check_column, find_audio_column
from .decoding import BadClipError, EncodedClip, RecordingAndCleaned, clip_name, read_clip
from .loading import load_split
from .specs import DatasetSpec


def lay_out(
    clip: Waveform,
    following: Callable[[], Callable[[], Waveform]],
    length: int,
    rng: np.random.Generator,
    speed: RandomSpeed | None = None,
    max_gap: int = 0,
) -> Waveform:
    """A random stretch (…, C, length) of a clip (…, C, T); where that is too short, other clips follow.

    Args:
        following: draws the next clip, and gives a function that decodes it.
        speed (`RandomSpeed`, *optional*): changes every clip.
        max_gap (`int`): longest silence between clips, in samples.
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


class ClipCollection:
    """Clips of a dataset's split, decoded when they are asked for.

    Args:
        spec (`str` or `DatasetSpec`): Hub id, or a local folder (of audio files, with or without a `metadata.csv`).
        split (`str`): the split.
        sampling_rate (`int`): every clip is resampled to it.
        audio_column (`str`, *optional*): by default `audio`, or the only column that holds audio.
        channels (`int`, *optional*, defaults to 1): of every clip: mixed down to mono, or repeated.
        strict (`bool`, *optional*): a clip that cannot be used raises `DataError`.
        excluded_speakers (`Collection[str]`, *optional*): whose clips are left out; names that are not among the
            dataset's speakers do nothing.
        cleaned_column (`str`, *optional*): column of the same recordings with less noise. Clips, and stretches of
            them, are then (2, C, T) instead of (C, T): the recording and the cleaned one.

    Raises:
        ValueError: no such dataset, split or column, or an empty split; names those there are. Or every clip is of an
            excluded speaker.
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
    ):
        self.spec = DatasetSpec.parse(spec)
        self.dataset = load_split(self.spec, split)
        self.audio_column = find_audio_column(self.dataset, audio_column, str(self.spec))
        if cleaned_column is not None:
            check_column("cleaned_column", cleaned_column, self.dataset.column_names, str(self.spec))
        self.cleaned_column = cleaned_column
        if len(self.dataset) == 0:
            raise ValueError(f"split {self.spec.split or split!r} of {self.spec} is empty: name another one")
        self.sampling_rate, self.channels = sampling_rate, channels
        speakers = [str(name) for name in self.dataset["speaker"]] if "speaker" in self.dataset.column_names else []
        self.speakers = set(speakers)  # those that are left out, too
        if self.speakers & set(excluded_speakers):
            kept = [index for index, speaker in enumerate(speakers) if speaker not in excluded_speakers]
            if not kept:
                raise ValueError(f"excluded_speakers leave nothing of {self.spec}: keep one of {len(self.speakers)}")
            self.dataset = self.dataset.select(kept)
        self.bad_clips = BadClips(str(self.spec), len(self.dataset), strict)
        # Clips that may follow each other: of one speaker, or of one kind of noise.
        column = next((name for name in ("speaker", "kind") if name in self.dataset.column_names), None)
        self.group_of = list(self.dataset[column]) if column else list(range(len(self.dataset)))
        self.groups: dict = {}
        for index, group in enumerate(self.group_of):
            self.groups.setdefault(group, []).append(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Waveform:
        """A whole clip, (C, T).

        Raises:
            BadClipError: it cannot be used.
        """
        return self._read(index)

    def name(self, index: int) -> str:
        return clip_name(self.dataset[int(index)][self.audio_column], f"row {index}")

    def attributes(self, index: int) -> dict:
        """The other columns of a clip's row that hold a word or a number."""
        row = self.dataset[int(index)]
        return {name: value for name, value in row.items() if isinstance(value, (str, int, float))}

    def usable(self, position: int, candidates: Sequence[int] | None = None, stretch: tuple | None = None) -> tuple:
        """The clip at `candidates[position]`, or where that cannot be used, the next of them that can.

        Args:
            position (`int`): among the candidates.
            candidates (`Sequence[int]`, *optional*): indices of clips, by default all.
            stretch (`tuple`, *optional*): see `read_clip`.

        Returns:
            `tuple`: index and samples (C, T).

        Raises:
            DataError: none of them can be used; or, with `strict`, one of them cannot.
        """
        candidates = range(len(self)) if candidates is None else candidates
        for offset in range(len(candidates)):
            found = candidates[(position + offset) % len(candidates)]
            if found in self.bad_clips:
                continue
            try:
                return found, self._read(found, stretch)
            except BadClipError as error:
                self.bad_clips.add(error, self.name(found), found)
        raise DataError(f"dataset {self.spec}: none of its {len(candidates)} clips can be used")

    def fill(self, length: int, rng: np.random.Generator, **options) -> Waveform:
        """The stretch that `draw` gives."""
        return self.draw(length, rng, **options)[1]

    def draw(
        self,
        length: int,
        rng: np.random.Generator,
        speed: RandomSpeed | None = None,
        max_gap: float = 0.0,
        balance: float = 0.0,
    ) -> tuple:
        """A random stretch of a random clip; where it is too short, clips of the same group follow.

        Args:
            length (`int`): in samples.
            speed, max_gap: see `lay_out`; here `max_gap` is in seconds.
            balance (`float`): with 1 groups are equally likely, with 0 clips are; in between, a group of n clips is
                drawn in proportion to n to the power of 1 - `balance`.

        Returns:
            `tuple`: the group's name (speaker or kind; the clip's number where the dataset has no such column), and
            samples (C, length).
        """
        stretch = (2 * length, rng)
        if balance > 0:
            groups = list(self.groups.values())
            sizes = np.array([len(group) for group in groups], float) ** (1 - balance)
            shares = None if balance == 1 else sizes / sizes.sum()  # equal shares draw otherwise than none
            group = groups[int(rng.choice(len(groups), p=shares))]
            index, clip = self.usable(group[int(rng.integers(len(group)))], stretch=stretch)
        else:
            index, clip = self.usable(int(rng.integers(len(self))), stretch=stretch)
        name = self.group_of[index]
        group = self.groups[name]

        def following() -> Callable[[], Waveform]:
            choice = int(rng.integers(len(group)))
            return lambda: self.usable(choice, group, stretch)[1]

        gap = round(max_gap * self.sampling_rate)
        return name, lay_out(clip, following, length, rng, speed, gap)

    def _read(self, index: int, stretch: tuple | None = None) -> Waveform:
        row = self.dataset[int(index)]
        recording = EncodedClip(row[self.audio_column])
        if self.cleaned_column is None:
            return read_clip(recording, self.sampling_rate, self.channels, stretch)
        both = RecordingAndCleaned(recording, EncodedClip(row[self.cleaned_column]), self.channels)
        clip = read_clip(both, self.sampling_rate, 2 * self.channels, stretch)
        return clip.reshape(2, self.channels, -1)


class ClipPool:
    """Several collections, one of which is drawn by weight for every stretch."""

    def __init__(self, collections: Sequence[ClipCollection]):
        self.collections = list(collections)
        weights = np.array([collection.spec.weight for collection in collections])
        self.shares = weights / weights.sum()
        self.sampling_rate, self.channels = collections[0].sampling_rate, collections[0].channels

    def __len__(self) -> int:
        return sum(len(collection) for collection in self.collections)

    def fill(self, length: int, rng: np.random.Generator, **options) -> Waveform:
        """As `ClipCollection.fill`."""
        # A single collection takes no draw.
        choice = int(rng.choice(len(self.shares), p=self.shares)) if len(self.shares) > 1 else 0
        return self.collections[choice].fill(length, rng, **options)
