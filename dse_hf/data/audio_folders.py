"""Reads folders and repositories of audio files without the loader of `datasets`, which needs torchcodec."""

import csv
import io
import json
import os
import posixpath

from ..audio.formats import is_audio_file
from .specs import DatasetSpec


METADATA = ("metadata.csv", "metadata.jsonl")


def needs_torchcodec(error: BaseException | None) -> bool:
    """Whether an error of `datasets` means that torchcodec is not installed."""
    while error is not None:
        if isinstance(error, ImportError) and "torchcodec" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_audio_folder(spec: DatasetSpec, split: str, download: bool) -> list[dict]:
    """Reads a split of a dataset repository that consists of audio files; see `rows_of` for its rows.

    With `download`, all files are downloaded now. Otherwise each is fetched when it is read.
    """
    from datasets import DownloadManager, load_dataset_builder

    builder = load_dataset_builder(spec.name, spec.config, revision=spec.revision)
    splits = builder.config.data_files or {}
    if split not in splits:
        raise ValueError(f"no such split; it has {', '.join(map(str, splits)) or 'none'}")
    files = [str(file) for file in splits[split]]
    audio = [file for file in files if is_audio_file(file)]
    if not audio:
        raise ValueError("holds no audio files outside of archives; install torchcodec to read those")
    places = DownloadManager(dataset_name=spec.name).download(audio) if download else audio
    metadata = [file for file in files if posixpath.basename(file) in METADATA]
    return rows_of(dict(zip(audio, map(str, places))), metadata)


def rows_of(files: dict[str, str], metadata: list[str]) -> list[dict]:
    """Makes the rows of a folder of audio files, in the layout of `datasets`' audiofolder.

    Every audio file is a row with the column `audio`, and the columns that the metadata have for its `file_name`.
    If they name files as `<column>_file_name`, every row of the metadata is a row instead, with one audio column for
    each such column. `files` maps every audio file to the path or URL to read it from.
    """
    items = {file: {"bytes": None, "path": place} for file, place in files.items()}
    described = [row for file in metadata for row in _read_metadata(file)]
    several = [row for row in described if any(name.endswith("_file_name") for name in row)]
    if several:
        return [_with_audio(row, items) for row in several]
    columns = {name: None for row in described for name in row if name != "file_name"}
    texts = {row.pop("file_name"): row for row in described if "file_name" in row}
    return [{"audio": item, **columns, **texts.get(file, {})} for file, item in items.items()]


def _read_metadata(file: str) -> list[dict]:
    """The rows of a metadata file. Their file names include its folder."""
    import fsspec

    with open(file, "rb") if os.path.exists(file) else fsspec.open(file, "rb") as stream:
        text = stream.read().decode("utf-8-sig")
    if file.endswith(".csv"):
        rows = list(csv.DictReader(io.StringIO(text), restkey="rest"))
    else:
        rows = [json.loads(line) for line in text.splitlines() if line]
    folder = posixpath.dirname(file)
    for row in rows:
        for name in row:
            if f"_{name}".endswith("_file_name"):
                row[name] = posixpath.join(folder, posixpath.normpath(row[name] or ""))
    return rows


def _with_audio(row: dict, items: dict[str, dict]) -> dict:
    """Replaces every `<column>_file_name` of a metadata row by `<column>` with the audio item of the file."""
    missing = {"bytes": None, "path": None}
    return {
        name.removesuffix("_file_name"): items.get(value, missing) if name.endswith("_file_name") else value
        for name, value in row.items()
    }
