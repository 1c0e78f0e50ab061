"""Divides a dataset into shards. Their names tell of the source, the model and the options: no two settings mix."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..loading import ModelSource, find_model
from .options import CleaningOptions, cleaned_features, find_column
from .sources import Part, Source


_MODEL_FILES = ("*.json", "*.safetensors")


@dataclass(frozen=True)
class ModelId:
    """Which model cleans: its name, its commit if it is on the Hub, and a hash of its files."""

    name: str
    commit: str | None
    digest: str
    dtype: str = "auto"

    @classmethod
    def of(cls, source: ModelSource, dtype: str = "auto") -> "ModelId":
        digest = hashlib.sha256()
        for path in sorted(path for pattern in _MODEL_FILES for path in source.folder.glob(pattern)):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
        commit = source.folder.name if " the Hub" in source.kind else None
        name = str(source.folder.resolve()) if source.kind == "a folder" else source.name
        return cls(name, commit, digest.hexdigest(), dtype)

    def load(self, device: str = "auto"):
        """Loads it on this machine, where it must be the same."""
        from ..loading import load_separator, needs_transformers

        source = find_model(self.name, self.commit)
        if ModelId.of(source).digest != self.digest:
            raise ValueError(f"model {self.name!r}: has changed, or is another one on this machine; start again")
        if needs_transformers(source):
            from transformers.utils import logging

            logging.disable_progress_bar()  # of loading weights, once for every process
        return load_separator(source, device, self.dtype)


@dataclass(frozen=True)
class Work:
    """All that a process needs to clean any shard, and that shards have in common."""

    source: str
    folder: str
    model: ModelId
    options: CleaningOptions
    output: str  # the folder or place the shards are written to


@dataclass(frozen=True)
class Shard:
    """A file of the result. Its rows are those of `part`, which begin at row `first_row` of the split."""

    name: str
    config: str
    split: str
    first_row: int
    part: Part
    column: str
    features: Any  # of the source
    new_features: Any

    @property
    def rows(self) -> int:
        return self.part.rows


@dataclass(frozen=True)
class Plan:
    """The shards of the result, in order, and the fingerprint that is part of their names."""

    fingerprint: str
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


def make_plan(source: Source, model: ModelId, options: CleaningOptions, shard_rows: int) -> Plan:
    """Makes the plan. Raises a ValueError if a column is missing, or has a name that the result needs."""
    sizes = [[part.rows for part in split.parts] for split in source.splits]
    names = [(split.config, split.split) for split in source.splits]
    known = {
        "version": __version__,
        "source": [source.name if source.on_hub else "", source.revision, names, sizes, shard_rows],
        "model": [model.digest, model.dtype],
        "options": options.of_results(),
    }
    fingerprint = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    shards = []
    for split in source.splits:
        name = f"dataset {source.name}"
        column = find_column(split.features, options.column, name)
        features = cleaned_features(split.features, column, options, name)
        folder, first_row = "data" if split.config == "default" else split.config, 0
        for number, part in enumerate(split.parts):
            file = f"{folder}/{split.split}-{number:05d}-of-{len(split.parts):05d}-{fingerprint}.parquet"
            common = (split.config, split.split, first_row, part, column, split.features, features)
            shards.append(Shard(file, *common))
            first_row += part.rows
    if not shards:
        raise ValueError(f"dataset {source.name}: has no rows")
    return Plan(fingerprint, tuple(shards))


def is_shard(path: str, fingerprint: str | None = None) -> bool:
    """Whether a file name is that of a shard, of this fingerprint or of any."""
    stem, _, mark = Path(path).stem.rpartition("-")
    made = path.endswith(".parquet") and "-of-" in stem and len(mark) == 16 and set(mark) <= set("0123456789abcdef")
    return made and fingerprint in (None, mark)
