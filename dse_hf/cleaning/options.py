"""What is done to each row of a dataset, and which columns that adds."""

import dataclasses
import difflib
import math
from dataclasses import dataclass


ERROR_COLUMN = "clean_error"
SCORE_COLUMNS = ("level_change_db", "dnsmos_before", "dnsmos_after")


@dataclass(frozen=True)
class CleaningOptions:
    """
    Args:
        column (`str`, *optional*): the column with the audio; by default `audio`, or the only column with audio.
        keep_original (`bool`): the cleaned audio goes to a column of its own, `<column>_clean`.
        background_column (`str`, *optional*): name of a new column for what was taken out.
        background_db (`float`): how much of the background stays in, in dB, at most 0. `-inf` leaves nothing in.
        scores (`bool`): adds the columns `level_change_db`, `dnsmos_before` and `dnsmos_after`.
        min_dnsmos (`float`, *optional*): rows whose cleaned audio scores less are dropped. Implies `scores`.
        strict (`bool`): the first row that cannot be cleaned is an error.

    Raises:
        ValueError: an option is out of its range, or a column has two uses.
    """

    column: str | None = None
    keep_original: bool = False
    background_column: str | None = None
    background_db: float = -math.inf
    scores: bool = False
    min_dnsmos: float | None = None
    strict: bool = False

    def __post_init__(self):
        if not self.background_db <= 0:
            raise ValueError(f"background_db={self.background_db:g}: must be 0 or less, such as -20")
        if self.min_dnsmos is not None and not 1 <= self.min_dnsmos <= 5:
            raise ValueError(f"min_dnsmos={self.min_dnsmos:g}: DNSMOS goes from 1 to 5")

    @property
    def has_scores(self) -> bool:
        return self.scores or self.min_dnsmos is not None

    def of_results(self) -> dict:
        """The options that the results depend on, as JSON takes them."""
        values = {**dataclasses.asdict(self), "scores": self.has_scores, "background_db": str(self.background_db)}
        del values["strict"]
        return values


def find_column(features, wanted: str | None, name: str) -> str:
    """The column with the audio: `wanted`, or `audio`, or the only one. Raises a ValueError if there is none."""
    found = [column for column, feature in features.items() if holds_audio(feature)]
    listed = f"the columns with audio are {', '.join(found)}" if found else "no column holds audio"
    if wanted is not None:
        if wanted not in features:
            similar = difflib.get_close_matches(wanted, features, n=1)
            hint = f" (did you mean {similar[0]}?)" if similar else ""
            raise ValueError(f"{name}: has no column {wanted!r}{hint}; {listed}")
        if wanted not in found and getattr(features[wanted], "dtype", "") not in ("binary", "large_binary"):
            raise ValueError(f"{name}: column {wanted!r} holds no audio; {listed}")
        return wanted
    if "audio" in found:
        return "audio"
    if len(found) != 1:
        raise ValueError(f"{name}: name the column to clean with --column; {listed}; all: {', '.join(features)}")
    return found[0]


def holds_audio(feature) -> bool:
    """Whether a column of this type holds audio: `Audio`, or a struct of bytes and path, or of array and rate."""
    from datasets import Audio

    keys = set(feature) if isinstance(feature, dict) else set()
    return isinstance(feature, Audio) or {"bytes", "path"} <= keys or {"array", "sampling_rate"} <= keys


def cleaned_column(column: str, options: CleaningOptions) -> str:
    """The column that the cleaned audio goes to."""
    return f"{column}_clean" if options.keep_original else column


def cleaned_features(features, column: str, options: CleaningOptions, name: str):
    """The types of the columns of the result: those of the source, then the new ones."""
    from datasets import Features, Value

    added: dict = {}
    if options.keep_original:
        added[cleaned_column(column, options)] = features[column]
    if options.background_column is not None:
        added[options.background_column] = features[column]
    if options.has_scores:
        added |= {score: Value("float32") for score in SCORE_COLUMNS}
    added[ERROR_COLUMN] = Value("string")
    for taken in features:
        if taken in added:
            raise ValueError(f"{name}: has a column {taken!r} already, which the result needs; rename or remove it")
    return Features({**features, **added})
