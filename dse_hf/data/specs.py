"""Dataset specs: `org/name,config=…,split=…,revision=…,weight=…`, or the same as a mapping in a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset, and its weight if several datasets are mixed.

    Args:
        name (`str`): Hub id, or a local folder.
        config (`str`, *optional*): the dataset's configuration.
        split (`str`, *optional*): the split that is used instead of the requested one.
        revision (`str`, *optional*): branch, tag or commit.
        weight (`float`, *optional*, defaults to 1.0): share of the examples, relative to the weights of the others.

    Raises:
        ValueError: the name is empty, or the weight is not positive.
    """

    name: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    weight: float = 1.0

    def __post_init__(self):
        if not self.name:
            raise ValueError("dataset '': give a Hub id (org/name) or a folder")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight={self.weight} of dataset {self.name!r}: must be a positive number")

    def __str__(self) -> str:
        parts = [f"{key}={getattr(self, key)}" for key in ("config", "revision") if getattr(self, key)]
        return ",".join([self.name, *parts])

    @classmethod
    def parse(cls, value: "str | Path | Mapping | DatasetSpec") -> "DatasetSpec":
        """Reads a spec from a string or a mapping. Raises ValueError for an unknown key or a wrong value."""
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return cls._from_mapping(dict(value), dict(value))
        text = str(value)
        if Path(text).exists():  # The name of a folder may contain commas.
            return cls(text)
        name, *parts = text.split(",")
        given: dict = {"name": name.strip()}
        for part in parts:
            key, equals, content = part.partition("=")
            if not equals:
                raise ValueError(f"dataset {text!r}: {part!r} is not key=value; write it as in 'org/name,split=train'")
            given[key.strip()] = content.strip()
        return cls._from_mapping(given, text)

    @classmethod
    def _from_mapping(cls, given: dict, value) -> "DatasetSpec":
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise ValueError(f"dataset {value!r}: {key!r} is not a key; choose among {', '.join(known)}")
        if "name" not in given:
            raise ValueError(f"dataset {value!r}: 'name' is missing; give a Hub id (org/name) or a folder")
        try:
            given["weight"] = float(given.get("weight", 1.0))
        except (TypeError, ValueError):
            raise ValueError(f"dataset {value!r}: weight={given['weight']!r} must be a number") from None
        # YAML reads a revision or a config such as 2024 as a number.
        texts: dict = {key: None if part is None else str(part) for key, part in given.items()}
        texts["weight"] = given["weight"]
        return cls(**texts)


def parse_specs(value: "str | Mapping | DatasetSpec | Sequence | None") -> tuple[DatasetSpec, ...]:
    """Reads one spec or several. An empty value gives none."""
    if not value:
        return ()
    if isinstance(value, (str, Path, Mapping, DatasetSpec)):
        value = [value]
    return tuple(DatasetSpec.parse(item) for item in value)


def draw_by_weight(owners: Sequence, rng: np.random.Generator) -> int:
    """Draws the index of one of several objects with a `spec`, in proportion to the weights of their datasets."""
    weights = np.array([owner.spec.weight for owner in owners])
    return int(rng.choice(len(owners), p=weights / weights.sum()))
