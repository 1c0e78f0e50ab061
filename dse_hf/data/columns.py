"""Which column holds which sound: named by the arguments, or found if there is only one choice."""

from collections.abc import Sequence
from dataclasses import dataclass

from .arguments import DataArguments
from .loading import audio_columns


@dataclass(frozen=True)
class Layout:
    """The columns that sum to each source of parallel recordings. A source without any is the rest of `mixture`."""

    mixture: str | None
    sources: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are needed."""
        used = tuple(column for columns in self.sources for column in columns)
        needs_mixture = any(not columns for columns in self.sources)
        return (self.mixture, *used) if needs_mixture and self.mixture is not None else used

    @property
    def is_pair(self) -> bool:
        """Whether a row is a noisy and a clean recording."""
        return len(self.sources) == 2 and len(self.sources[0]) == 1 and not self.sources[1]


def known_columns(arguments: DataArguments, sources: Sequence[str]) -> set[str]:
    """The columns that a dataset of pairs or stems may have."""
    options = (arguments.noisy_column, arguments.clean_column, arguments.mixture_column)
    named = {column for column in options if column is not None}
    given = {column for columns in _given_sources(arguments.source_columns, sources).values() for column in columns}
    return {"noisy", "clean", "mixture", *sources, *named, *given}


def column_names(dataset, name: str) -> list[str]:
    """The names of a dataset's columns. If a stream does not know them, its first row is read."""
    if dataset.column_names:
        return list(dataset.column_names)
    first = next(iter(dataset), None)
    if first is None:
        raise ValueError(f"dataset {name} is empty: name another split")
    return list(first)


def find_audio_column(dataset, wanted: str | None, name: str) -> str:
    """Finds the column of the clips: `wanted`, or `audio`, or the only column with audio; or raises ValueError."""
    columns = column_names(dataset, name)
    if wanted is not None:
        check_column("audio_column", wanted, columns, name)
        return wanted
    if "audio" in columns:
        return "audio"
    found = audio_columns(dataset)
    if len(found) == 1:
        return found[0]
    raise ValueError(f"dataset {name}: give audio_column; it has the columns {', '.join(columns)}")


def find_layout(dataset, arguments: DataArguments, sources: Sequence[str], name: str) -> Layout:
    """Finds the layout of a dataset of pairs or stems. Raises ValueError if a column is missing or ambiguous."""
    columns = column_names(dataset, name)
    shape = arguments.shape
    if shape == "auto":
        paired = {arguments.noisy_column or "noisy", arguments.clean_column or "clean"} <= set(columns)
        shape = "pairs" if paired or arguments.noisy_column or arguments.clean_column else "stems"
    if shape == "pairs":
        return _pair_layout(dataset, columns, arguments, sources, name)
    return _stem_layout(dataset, columns, arguments, sources, name)


def _pair_layout(dataset, columns: list[str], arguments: DataArguments, sources: Sequence[str], name: str) -> Layout:
    if len(sources) != 2:
        raise ValueError(
            f"dataset {name}: pairs train two sources, not {', '.join(sources)}; give stems (shape=stems)"
        )
    chosen = {"noisy_column": arguments.noisy_column, "clean_column": arguments.clean_column}
    for option, column in chosen.items():
        if column is not None:
            check_column(option, column, columns, name)
        elif option.removesuffix("_column") in columns:
            chosen[option] = option.removesuffix("_column")
    # If one column is known, the other may be the only other column with audio.
    for option, other in (("noisy_column", "clean_column"), ("clean_column", "noisy_column")):
        rest = [column for column in audio_columns(dataset) if column != chosen[other]]
        if chosen[option] is None and chosen[other] is not None and len(rest) == 1:
            chosen[option] = rest[0]
    for option, column in chosen.items():
        if column is None:
            raise ValueError(f"dataset {name}: give {option}; it has the columns {', '.join(columns)}")
    return Layout(chosen["noisy_column"], ((str(chosen["clean_column"]),), ()))


def _stem_layout(dataset, columns: list[str], arguments: DataArguments, sources: Sequence[str], name: str) -> Layout:
    given = _given_sources(arguments.source_columns, sources)
    mixture = arguments.mixture_column or ("mixture" if "mixture" in columns else None)
    if mixture is not None:
        check_column("mixture_column", mixture, columns, name)
    parts: list[tuple[str, ...]] = []
    for source in sources:
        for column in given.get(source, ()):
            check_column(f"source_columns {source}", column, columns, name)
        parts.append(given.get(source) or ((source,) if source in columns else ()))
    missing = [source for source, part in zip(sources, parts) if not part]
    if missing == [sources[-1]]:
        used = {mixture, *(column for part in parts for column in part)}
        parts[-1] = tuple(column for column in audio_columns(dataset) if column not in used)
        if parts[-1]:
            return Layout(mixture, tuple(parts))
    if len(missing) > 1 or (missing and mixture is None):
        raise ValueError(
            f"dataset {name}: no column for {', '.join(missing)}; it has the columns {', '.join(columns)}: "
            f"give source_columns, as in '{missing[0]}=column', or noisy_column and clean_column"
        )
    return Layout(mixture, tuple(parts))


def _given_sources(options: Sequence[str], sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    given = {}
    for option in options:
        source, equals, columns = option.partition("=")
        if not equals or source not in sources:
            raise ValueError(
                f"source_columns {option!r}: write source=column or source=column+column; "
                f"the sources are {', '.join(sources)}"
            )
        given[source] = tuple(columns.split("+"))
    return given


def check_column(option: str, column: str, columns: Sequence[str], name: str) -> None:
    """Raises ValueError if a dataset lacks the column that an option names. The message lists the columns."""
    if column not in columns:
        raise ValueError(f"{option}={column!r}: {name} has the columns {', '.join(columns)}")
