"""Loads splits of Hub datasets and local folders. The audio stays encoded; the workers of the loader decode it."""

from collections.abc import Collection
from pathlib import Path

from ..audio.formats import is_audio_file
from ..errors import one_line
from .audio_folders import METADATA, needs_torchcodec, read_audio_folder, rows_of
from .specs import DatasetSpec


def load_split(spec: str | DatasetSpec, split: str, streaming: bool = False, columns: Collection[str] = ()):
    """Loads a split of a Hub dataset or of a local folder.

    Args:
        spec (`str` or `DatasetSpec`): the dataset. If it names a split, that one is loaded and not `split`.
        split (`str`): the split.
        streaming (`bool`): return a `datasets.IterableDataset`, which reads while it is iterated over.
        columns (`Collection[str]`): columns that parallel recordings may have, see `read_folder`.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`, with audio columns as `{"bytes", "path"}`.

    Raises:
        ValueError: there is no such dataset, configuration, split or revision. The message lists those that exist.
    """
    from datasets.exceptions import DatasetsError

    spec = DatasetSpec.parse(spec)
    split = spec.split or split
    try:
        dataset = _load(spec, split, streaming, columns)
    except (ValueError, OSError, ImportError, DatasetsError) as error:
        raise ValueError(f"dataset {spec}, split {split!r}: {one_line(error)}") from error
    return keep_encoded(dataset)


def _load(spec: DatasetSpec, split: str, streaming: bool, columns: Collection[str]):
    from datasets import Dataset, config, load_dataset
    from datasets.exceptions import DatasetGenerationError

    folder = Path(spec.name)
    if folder.is_dir():
        if _is_saved(folder) or any(_is_saved(child) for child in folder.iterdir()):
            dataset = _load_saved(folder, split)
            return _stream(dataset) if streaming else dataset
        rows = read_folder(folder, split, columns)
        if rows:
            return _stream(Dataset.from_list(rows)) if streaming else Dataset.from_list(rows)
    try:
        dataset = load_dataset(spec.name, spec.config, split=split, revision=spec.revision, streaming=streaming)
    except (DatasetGenerationError, ImportError) as error:
        if not needs_torchcodec(error):
            raise
        return Dataset.from_list(read_audio_folder(spec, split, download=True))
    if streaming and dataset.info.builder_name == "audiofolder" and not config.TORCHCODEC_AVAILABLE:
        return _stream(Dataset.from_list(read_audio_folder(spec, split, download=False)))
    return dataset


def _is_saved(folder: Path) -> bool:
    """Whether the folder was written by `Dataset.save_to_disk`."""
    return (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()


def _load_saved(folder: Path, split: str):
    from datasets import DatasetDict, load_from_disk

    if not _is_saved(folder):
        folder = folder / split
        if not _is_saved(folder):
            folders = sorted(entry.name for entry in folder.parent.iterdir() if entry.is_dir())
            raise ValueError(f"no such folder; {folder.parent} has {', '.join(folders) or 'none'}")
    dataset = load_from_disk(str(folder))
    if isinstance(dataset, DatasetDict):
        if split not in dataset:
            raise ValueError(f"no such split; it has {', '.join(dataset) or 'none'}")
        return dataset[split]
    return dataset


def _stream(dataset):
    return dataset.to_iterable_dataset(num_shards=max(1, min(len(dataset), 64)))


def keep_encoded(dataset):
    """Keeps audio columns as bytes and path. They need no torchcodec, and the workers of the loader decode them."""
    from datasets import Audio, IterableDataset

    if isinstance(dataset, IterableDataset):
        return dataset.decode(False) if dataset.features else dataset
    for name, feature in dataset.features.items():
        if _is_encoded_audio(feature):
            dataset = dataset.cast_column(name, Audio(decode=False))
    return dataset


def _is_encoded_audio(feature) -> bool:
    from datasets import Audio

    return isinstance(feature, Audio) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def audio_columns(dataset) -> list[str]:
    """Names of the columns that hold audio, as far as the types of the dataset tell."""
    return [
        name
        for name, feature in (dataset.features or {}).items()
        if _is_encoded_audio(feature) or (isinstance(feature, dict) and "array" in feature)
    ]


def read_folder(folder: Path, split: str, columns: Collection[str] = ()) -> list[dict]:
    """Reads a split of a local folder of audio files. Returns no rows if `<folder>/<split>` has no audio files.

    See `rows_of` for the rows; the metadata are in `<folder>/<split>/metadata.csv` or `metadata.jsonl`.

    With `columns`, a row consists of files that were recorded together. These are `<split>/noisy/a.wav` and
    `<split>/clean/a.wav` if a folder has the name of one of the columns, otherwise `<split>/song/vocals.wav` and
    `<split>/song/drums.wav`.
    """
    # The loader of `datasets` would need torchcodec even for files that it does not decode.
    root = folder / split
    files = sorted(path for path in root.glob("**/*") if is_audio_file(path))
    if not files:
        return []
    if columns:
        return _parallel_rows(root, files, columns)
    metadata = [(root / name).as_posix() for name in METADATA if (root / name).exists()]
    return rows_of({path.as_posix(): str(path) for path in files}, metadata)


def _parallel_rows(root: Path, files: list[Path], columns: Collection[str]) -> list[dict]:
    """Rows of files that were recorded together. A row without a file for a column has an empty item there."""
    parts = {file: file.relative_to(root).with_suffix("").parts for file in files}
    # The column is the first part of the path, or the last one.
    is_first = any(path[0] in columns for path in parts.values() if len(path) > 1)
    places = {file: (path[0], path[1:]) if is_first else (path[-1], path[:-1]) for file, path in parts.items()}
    names = sorted({column for column, _ in places.values()})
    rows: dict[tuple[str, ...], dict] = {}
    for file, (column, row) in places.items():
        empty = {"name": "/".join(row), **{name: {"bytes": None, "path": None} for name in names}}
        rows.setdefault(row, empty)[column] = {"bytes": None, "path": str(file)}
    return list(rows.values())
