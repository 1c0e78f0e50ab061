"""Reads audio files of any length as blocks of samples."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..errors import describe_os_error
from .decoders import AudioError, open_decoder


MIN_SAMPLING_RATE = 1_000  # Hz
MAX_SAMPLING_RATE = 768_000  # Hz
MAX_CHANNELS = 64


class AudioReader:
    r"""
    Reads an audio file block by block: memory does not grow with the file.

        >>> with AudioReader("noisy.m4a") as reader:
        ...     for block in reader:  # (frames, channels) float32, full scale ±1
        ...         ...

    Args:
        source (`str`, `os.PathLike`, `bytes` or a binary file object):
            A path, the content of a file, or an open file, which is read from its start and left open. What
            cannot seek (a pipe) is first copied to a temporary file.
        block_seconds (`float`, *optional*, defaults to 1.0): length of a block; less where channels are many.

    Attributes:
        name (`str`): the file's name, for messages.
        sampling_rate, channels (`int`): in Hz; at most `MAX_CHANNELS`.
        frames (`int` or `None`): samples of each channel; `None` where only reading tells.
        seconds (`float` or `None`): length, an estimate where `frames` is `None`.
        subtype (`str`): libsndfile's name of the sample format (`"PCM_16"`, `"FLOAT"`, …), or the codec's.

    Raises:
        AudioError: on opening or reading. The file is missing, a folder, not permitted, not audio, empty,
            damaged, broken off, holds NaN or infinity, or has a sampling rate outside `MIN_SAMPLING_RATE` to
            `MAX_SAMPLING_RATE`.
    """

    def __init__(self, source, block_seconds: float = 1.0):
        self.name = _name(source)
        with self._errors_told():
            self._file = _open(source)
        self._owns_file, self._decoder = self._file is not source, None
        path = source if getattr(self._file, "name", None) == source else None  # not of a copy
        try:
            with self._errors_told():
                self._start(path, block_seconds)
        except BaseException:
            self.close()
            raise

    def _start(self, path, block_seconds: float) -> None:
        if self._file.seek(0, os.SEEK_END) == 0:
            raise AudioError(f"{self.name}: empty, 0 bytes; record or copy it again")
        self._decoder = decoder = open_decoder(self._file, self.name, path)
        self.sampling_rate, self.channels = decoder.sampling_rate, decoder.channels
        self.frames, self.seconds, self.subtype = decoder.frames, decoder.seconds, decoder.subtype
        if not MIN_SAMPLING_RATE <= self.sampling_rate <= MAX_SAMPLING_RATE:
            raise AudioError(
                f"{self.name}: sampling rate of {self.sampling_rate} Hz; "
                f"give audio of {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE} Hz"
            )
        if self.channels > MAX_CHANNELS:
            raise AudioError(f"{self.name}: {self.channels} channels; give at most {MAX_CHANNELS}")
        self._block_frames = max(1, min(round(block_seconds * self.sampling_rate), 2**20 // self.channels))

    def blocks(self, dtype: str = "float32") -> Iterator[np.ndarray]:
        """All samples, once, in blocks (n, channels). 32-bit integers need `"float64"` to be exact."""
        position, blocks = 0, self._decoder.blocks(self._block_frames, dtype)
        while True:
            with self._errors_told():
                block = next(blocks, None)
            if block is None:
                break
            finite = np.isfinite(block)
            if not finite.all():
                seconds = (position + int(finite.all(axis=1).argmin())) / self.sampling_rate
                raise AudioError(f"{self.name}: holds NaN or infinity at {seconds:.3f} s; cut or repair that")
            position += len(block)
            yield block

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.blocks()

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AudioError(f"{self.name}: {describe_os_error(error)}") from error

    def close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        if self._owns_file:
            self._file.close()

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _name(source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return "standard input" if name == "<stdin>" else name if isinstance(name, str) else "audio data"


def _open(source) -> BinaryIO:
    """A file that can seek, with the content of `source`."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    is_path = isinstance(source, (str, os.PathLike))
    file = open(source, "rb") if is_path else source  # noqa: SIM115 (the reader closes it)
    if file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        shutil.copyfileobj(file, copy, 2**20)
    except BaseException:
        copy.close()
        raise
    finally:
        if file is not source:
            file.close()
    return copy
