"""What collections of clips and of parallel recordings share: the rows of a split, and which of them are bad."""

from collections.abc import Callable, Collection, Sequence

from .augmentation import Waveform
from .bad_clips import BadClips, DataError
from .decoding import BadClipError
from .loading import load_split
from .specs import DatasetSpec


class RowCollection:
    """The rows of one split of a dataset. A subclass reads a row in `__getitem__` and sets `bad_clips`."""

    bad_clips: BadClips

    def __init__(self, spec: str | DatasetSpec, split: str, columns: Collection[str] = ()):
        self.spec = DatasetSpec.parse(spec)
        self.dataset = load_split(self.spec, split, columns=columns)
        if len(self.dataset) == 0:
            raise ValueError(f"split {self.spec.split or split!r} of {self.spec} is empty: name another one")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Waveform:
        """Returns the whole clip, or raises `BadClipError` if it cannot be used."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """The name of a clip in messages and results."""
        raise NotImplementedError

    def attributes(self, index: int) -> dict:
        """The columns of a row that hold a word or a number."""
        row = self.dataset[int(index)]
        return {name: value for name, value in row.items() if isinstance(value, (str, int, float))}

    def read_or_none(self, index: int, read: Callable[[int], Waveform] | None = None) -> Waveform | None:
        """Returns the clip at `index`, or None if it cannot be used. `bad_clips` then counts it."""
        try:
            return (read or self.__getitem__)(index)
        except BadClipError as error:
            self.bad_clips.add(error, self.name(index), index)
            return None

    def read_or_next(
        self, position: int, candidates: Sequence[int] | None = None, read: Callable[[int], Waveform] | None = None
    ) -> tuple[int, Waveform]:
        """Returns index and samples of `candidates[position]`, or of the next candidate that can be used.

        Candidates are indices of clips; by default, all. `read` reads the clip of an index; by default, the whole one.
        Raises `DataError` if no candidate can be used, or if one cannot and `strict` is on.
        """
        candidates = range(len(self)) if candidates is None else candidates
        for offset in range(len(candidates)):
            index = candidates[(position + offset) % len(candidates)]
            if index not in self.bad_clips and (clip := self.read_or_none(index, read)) is not None:
                return index, clip
        raise DataError(f"dataset {self.spec}: none of its {len(candidates)} clips can be used")
