"""Audio files of a repository, read without the loader of `datasets`, which wants torchcodec to do it."""

import csv
import io
import json
import posixpath

from .specs import DatasetSpec


AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
METADATA = ("metadata.csv", "metadata.jsonl")


def needs_torchcodec(error: BaseException | None) -> bool:
    """Whether loading failed because torchcodec is not installed."""
    while error is not None:
        if isinstance(error, ImportError) and "torchcodec" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_audio_folder(spec: DatasetSpec, split: str, download: bool) -> list[dict]:
    """Rows of a split whose files `datasets` finds by their names and folders, as in its audiofolder.

    A row is a file, in the column `audio`, with the columns of the `metadata.csv` or `metadata.jsonl` that names it as
    its `file_name`. Where those name files as `<column>_file_name`, rows are theirs, with an audio column for each.

    Args:
        spec (`DatasetSpec`): the dataset.
        split (`str`): the split.
        download (`bool`): download all files first, instead of each when it is read.

    Raises:
        ValueError: no such split, or no audio files in it.
    """
    from datasets import DownloadManager, load_dataset_builder

    builder = load_dataset_builder(spec.name, spec.config, revision=spec.revision)
    splits = builder.config.data_files or {}
    if split not in splits:
        raise ValueError(f"no such split; it has {', '.join(map(str, splits)) or 'none'}")
    files = [str(file) for file in splits[split]]
    audio = [file for file in files if posixpath.splitext(file)[1].lower() in AUDIO_SUFFIXES]
    if not audio:
        raise ValueError("holds no audio files outside of archives; install torchcodec to read those")
    places = DownloadManager(dataset_name=spec.name).download(audio) if download else audio
    items = {file: {"bytes": None, "path": str(place)} for file, place in zip(audio, places)}
    described = [row for file in files if posixpath.basename(file) in METADATA for row in _metadata(file)]
    several = [row for row in described if any(name.endswith("_file_name") for name in row)]
    if several:
        return [with_audio(row, items) for row in several]
    texts = {row["file_name"]: row for row in described if "file_name" in row}
    columns = {name: None for row in described for name in row if name != "file_name"}
    return [{**columns, **texts.get(file, {}), "audio": item, "file_name": file} for file, item in items.items()]


def _metadata(file: str) -> list[dict]:
    """Rows of a metadata file, with the files that they name as in the list of files."""
    import fsspec

    with fsspec.open(file, "rb") as stream:
        text = stream.read().decode("utf-8-sig")
    lines = text.splitlines()
    rows = list(csv.DictReader(io.StringIO(text))) if file.endswith(".csv") else [json.loads(x) for x in lines if x]
    folder = posixpath.dirname(file)
    return [joined(folder, row) for row in rows]


def joined(folder: str, row: dict) -> dict:
    """A metadata row whose `file_name` and `<column>_file_name` are in the folder."""
    return {
        name: posixpath.join(folder, value) if name == "file_name" or name.endswith("_file_name") else value
        for name, value in row.items()
    }


def with_audio(row: dict, items: dict[str, dict]) -> dict:
    """A metadata row with `<column>`, the item of the file, in place of `<column>_file_name`."""
    missing = {"bytes": None, "path": None}
    return {
        name.removesuffix("_file_name"): items.get(value, missing) if name.endswith("_file_name") else value
        for name, value in row.items()
    }
