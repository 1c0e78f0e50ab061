"""Which files the names on the command line stand for: files, wildcards and whole folders."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..audio.formats import FORMATS, is_audio_file
from .report import Report


@dataclass(frozen=True)
class Input:
    """A file to separate.

    Args:
        file (`str`): its path.
        output_dir (`str`, *optional*): the folder for its results; `None` is the folder of the file.
        found (`bool`): whether it was found in a folder. Otherwise the user named it.
    """

    file: str
    output_dir: str | None
    found: bool = False


def find_inputs(names: list[str], output_dir: str | None, report: Report) -> list[Input]:
    """Returns the files that the names stand for, each once. Reports names that stand for none."""
    inputs: dict[str, Input] = {}
    for name in names:
        with report.catching(name):
            for path in _matches(name):
                with report.catching(path):
                    os.stat(path)  # raises an error if there is no such file
                    if not os.path.isdir(path):
                        if (identity := os.path.realpath(path)) in inputs:
                            raise ValueError("given twice; leave one out")
                        inputs[identity] = Input(path, output_dir)
                        continue
                    found = list(_files_in(path, output_dir, report))
                    if not found:
                        raise ValueError(f"holds no audio files; give a folder with files of {', '.join(FORMATS)}")
                    for entry in found:
                        inputs.setdefault(os.path.realpath(entry.file), entry)
    return list(inputs.values())


def without_results(inputs: list[Input], sources: list[str], report: Report) -> list[Input]:
    """Leaves out files of folders that are results of others, such as old/a.foreground.wav if there is an a.wav."""
    stems = {PurePath(entry.file).stem for entry in inputs}
    kept = []
    for entry in inputs:
        stem, _, source = PurePath(entry.file).stem.rpartition(".")
        if entry.found and source in sources and stem in stems:
            report.skipped(entry.file, "result of another file")
        else:
            kept.append(entry)
    return kept


def _matches(name: str) -> list[str]:
    """The files that a name with wildcards stands for, as the shells of Windows leave them to the program."""
    if not glob.has_magic(name) or os.path.lexists(name):
        return [name]
    matches = sorted(glob.glob(name, recursive=True))
    if not matches:
        raise ValueError("no file has such a name; check the wildcards")
    return matches


def _files_in(folder: str, output_dir: str | None, report: Report) -> Iterator[Input]:
    """Yields the audio files in a folder and those below it, without hidden ones and those in the output folder."""
    results = None if output_dir is None else os.path.realpath(output_dir)

    def refuse(error: OSError) -> None:
        with report.catching(str(error.filename)):
            raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(parent, name)) != results
        )
        below = os.path.relpath(parent, folder)
        target = None if output_dir is None else str(Path(output_dir) / below)
        for name in sorted(files):
            if name.startswith("."):
                continue
            if is_audio_file(name):
                yield Input(os.path.join(parent, name), target, found=True)
            else:
                report.skipped(os.path.join(parent, name), f"not audio ({PurePath(name).suffix or 'no suffix'})")
