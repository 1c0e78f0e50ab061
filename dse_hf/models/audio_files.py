"""What the decoders share: the errors, and a file that damaged headers may lead anywhere."""

import errno
import os
from typing import Any, BinaryIO


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


def describe_os_error(error: OSError) -> str:
    """Says what went wrong with a file, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder; check the name"
    if isinstance(error, IsADirectoryError):
        return "is a folder; name the files in it, such as FOLDER/*.wav"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return "a file stands where a folder is needed; choose another name"
    if isinstance(error, PermissionError):
        return "permission denied; check its rights and those of its folder"
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long for the file system; choose a shorter one"
    return f"{(error.strerror or str(error)).lower()}; check the disk"


def is_placeholder(size: int) -> bool:
    """Whether a header gives this size for want of a better one: a program that writes to a pipe does not know it."""
    # The largest number, sometimes less the length of the header.
    return any(abs(size - 2**bits) < 2**16 for bits in (31, 32, 63, 64))


def native_path(path) -> str | bytes:
    """Converts a path for soundfile. On POSIX it becomes bytes, since a file name there need not be valid text."""
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


def start_of_content(file: BinaryIO) -> int:
    """Where the content begins: after the tag of an mp3 (ID3), which other formats may have too."""
    file.seek(0)
    head = file.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))


def signature(file: BinaryIO) -> bytes:
    """The first four bytes of the content of a file that can seek."""
    file.seek(start_of_content(file))
    return file.read(4)


class SeekableAnywhere:
    """A file for a decoder, or the bytes of it from `start` to `stop`.

    Damaged files make decoders seek before the start; `seek` then returns -1.
    """

    def __init__(self, file: Any, start: int = 0, stop: int | None = None):
        self._file, self._start, self._stop = file, start, stop
        file.seek(start)
        if isinstance(name := getattr(file, "name", None), str):
            self.name = name  # FFmpeg uses the suffix where the content is ambiguous

    def read(self, size: int = -1) -> bytes:
        if self._stop is not None:
            left = max(0, self._stop - self._file.tell())
            size = left if size < 0 else min(size, left)
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END and self._stop is not None:
            offset, whence = self._stop + offset, os.SEEK_SET
        elif whence == os.SEEK_SET:
            offset += self._start
        try:
            return self._file.seek(offset, whence) - self._start
        except (OSError, ValueError):
            return -1


class Unseekable:
    """A file for a decoder, to be read from the start to the end."""

    def __init__(self, file: BinaryIO):
        self.read = file.read
