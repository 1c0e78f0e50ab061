"""What the decoders share: the errors, and a file that damaged headers may lead anywhere."""

import os
from typing import BinaryIO


NO_SAMPLES = "holds no samples; record or export it again"


class AudioError(ValueError):
    """A file cannot be read or written. The message is one line: the file, what is wrong, and what to do."""


class UnrecognisedError(Exception):
    """The decoder does not recognise the file, so the next decoder may try."""


def broken_off(name: str, reached: float, announced: float | None) -> AudioError:
    """The error for a file that ends, or is damaged, after `reached` seconds of the `announced` ones."""
    of = "" if announced is None else f" of {announced:.1f} s"
    return AudioError(
        f"{name}: breaks off or is damaged at {reached:.1f} s{of}; "
        "get it again, or save what is there as a file of its own (ffmpeg -i FILE part.wav)"
    )


def native_path(path) -> str | bytes:
    """Converts a path for soundfile. On POSIX it becomes bytes, since a file name there need not be valid text."""
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


def first_bytes(file: BinaryIO, count: int = 4) -> bytes:
    """The first bytes of a file that can seek."""
    file.seek(0)
    return file.read(count)


class SeekableAnywhere:
    """A file for a decoder. Damaged files make decoders seek before the start; `seek` then returns -1."""

    def __init__(self, file: BinaryIO):
        self.read, self.tell, self._file = file.read, file.tell, file
        if isinstance(name := getattr(file, "name", None), str):
            self.name = name  # FFmpeg uses the suffix where the content is ambiguous

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1
