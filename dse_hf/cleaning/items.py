"""The audio of a row as datasets store it: a file's bytes or path, or an array. Reads it, and writes it as it was."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import soundfile

from ..audio import AudioReader
from ..audio.formats import FORMATS
from ..data.decoding import BadClipError


OTHER_FORMAT = "flac"  # of audio that came in a format that cannot be written


@dataclass(frozen=True)
class AudioItem:
    """An item of an audio column.

    Attributes:
        item: as the column has it.
        source (`bytes` or `str`): the content of the file, or its path.
        file_format (`str`): the suffix of the format in which it is written again.
        kind (`str`): what it came as, if that cannot be written, else "".
        seconds (`float`): its length, 0 if its header does not tell.
    """

    item: object
    source: bytes | str
    file_format: str
    kind: str
    seconds: float

    @classmethod
    def open(cls, item, folder: str = "") -> "AudioItem":
        """Reads the header. A relative path is one from `folder`. Raises an AudioError if there is no audio."""
        if item is None:
            raise BadClipError("empty", "is null")
        if isinstance(item, Mapping) and item.get("array") is not None:
            source: bytes | str = _wav_of(item)
        else:
            source = _content_of(item, folder)
        with AudioReader(source) as reader:
            found = _writable_format(_first_bytes(source), str(reader.subtype))
            kind = "" if found else str(reader.subtype).lower()
            return cls(item, source, found or OTHER_FORMAT, kind, reader.seconds or 0.0)

    def replaced(self, content: bytes) -> object:
        """The item with other audio: the content of a file in `file_format`."""
        if not isinstance(self.item, Mapping):
            return content
        if self.item.get("array") is not None:
            samples, rate = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
            shaped = samples.T if np.ndim(self.item["array"]) == 2 else samples[:, 0]
            return {**self.item, "array": shaped.tolist(), "sampling_rate": rate}
        path = self.item.get("path")
        if path is not None:
            path = PurePosixPath(path).name if not self.item.get("bytes") else path
            path = str(PurePosixPath(path).with_suffix(f".{self.file_format}")) if self.kind else path
        return {**self.item, "bytes": content, "path": path}


def _wav_of(item: Mapping) -> bytes:
    samples = np.asarray(item["array"], np.float64)
    rate = int(item.get("sampling_rate") or 0)
    if samples.size == 0:
        raise BadClipError("empty", "holds no samples")
    if rate <= 0:
        raise BadClipError("impossible sampling rate", f"sampling rate of {rate} Hz")
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format="WAV", subtype="DOUBLE")
    return file.getvalue()


def _content_of(item, folder: str) -> bytes | str:
    if isinstance(item, Mapping):
        content, path = item.get("bytes"), item.get("path")
    else:
        content, path = item, None
    if content is not None:
        return bytes(content)
    if not path:
        raise BadClipError("empty", "has neither bytes nor a path")
    place = path if "://" in path or os.path.isabs(path) or not folder else f"{folder}/{path}"
    if "://" not in place:
        return place
    import fsspec

    try:
        with fsspec.open(place, "rb") as file:
            return file.read()
    except FileNotFoundError as error:  # other errors are those of the network, and of no row
        raise BadClipError("unreadable", f"{path}: no such file") from error


def _first_bytes(source: bytes | str) -> bytes:
    if isinstance(source, bytes):
        return source[:4]
    with open(source, "rb") as file:
        return file.read(4)


def _writable_format(signature: bytes, subtype: str) -> str | None:
    """The suffix of a file's format by its first bytes and its codec; `None` if it cannot be written."""
    if signature == b"OggS":  # the container of several codecs
        return {"VORBIS": "ogg", "OPUS": "opus", "FLAC": "flac"}.get(subtype)
    for suffix, entry in FORMATS.items():
        if entry.container is not None and signature in entry.signatures:
            return suffix
    return "mp3" if subtype.startswith("MP3") else None
