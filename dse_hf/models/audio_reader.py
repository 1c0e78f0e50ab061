"""Reads audio files of any length, block by block."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from typing import BinaryIO

import numpy as np

from .audio_decoding import open_decoder
from .audio_files import AudioError, describe_os_error


MIN_SAMPLING_RATE = 1_000  # Hz
MAX_SAMPLING_RATE = 768_000  # Hz
MAX_CHANNELS = 64


class AudioReader:
    r"""
    Reads an audio file block by block, so that memory does not grow with the file.

        >>> with AudioReader("noisy.m4a") as reader:
        ...     for block in reader:  # (frames, channels) float32, full scale ±1
        ...         ...

    Args:
        source (`str`, `os.PathLike`, `bytes` or a binary file object): a path, the content of a file, or an open
            file, which is read from its start and stays open. A pipe is first copied to a temporary file.
        block_seconds (`float`, *optional*, defaults to 1.0): the length of a block; less if there are many channels.
        track (`int`, *optional*): which audio track of a film to read, from 1; by default the one that players choose.

    Attributes:
        name (`str`): the name of the file, for messages.
        sampling_rate (`int`): in Hz, from `MIN_SAMPLING_RATE` to `MAX_SAMPLING_RATE`.
        channels (`int`): the number of channels, at most `MAX_CHANNELS`.
        frames (`int` or `None`): the number of samples of each channel; `None` if the header does not tell it.
        seconds (`float` or `None`): the length; an estimate if `frames` is `None`.
        subtype (`str`): libsndfile's name of the sample format (`"PCM_16"`, `"FLOAT"`, …), or the name of the codec.
        dtype (`str`): the NumPy type that holds the samples without loss: `"float32"`, or `"float64"` for samples of
            32 or 64 bits.
        channel_mask (`int` or `None`): the loudspeakers of the channels, as the bits of `WAVE_FORMAT_EXTENSIBLE`;
            `None` if unknown. The channels have the order of wav, whatever that of the file is.
        start (`float`): when the first sample sounds, in seconds after the start of the container; 0.0 if unknown.

    Where the time stamps of a film or of an mp4 or webm jump, because sound is missing, the reader gives silence of
    that length. So the sound after the gap stays in time.

    Raises:
        AudioError: on opening or reading. The file does not exist, is a folder, may not be read, holds no audio, is
            damaged or incomplete, holds NaN or infinity, is outside these limits, or has no such track.
    """

    def __init__(self, source, block_seconds: float = 1.0, track: int | None = None):
        self.name = _name(source)
        with self._reported_errors():
            self._file = _open(source)
        self._owns_file = self._file is not source
        is_path = isinstance(source, (str, os.PathLike))
        path = source if is_path and self._file.name == os.fspath(source) else None  # a copy has another name
        self._options = (path, block_seconds, track)
        try:
            with self._reported_errors():
                self._start(*self._options)
        except BaseException:
            self.close()
            raise

    def _start(self, path, block_seconds: float, track: int | None) -> None:
        if self._file.seek(0, os.SEEK_END) == 0:
            raise AudioError(f"{self.name}: empty, 0 bytes; record or copy it again")
        self._decoder = decoder = open_decoder(self._file, self.name, path, track)
        self.sampling_rate, self.channels = decoder.sampling_rate, decoder.channels
        self.frames, self.seconds, self.subtype = decoder.frames, decoder.seconds, decoder.subtype
        self.start, self.channel_mask = decoder.start, decoder.channel_mask
        if not MIN_SAMPLING_RATE <= self.sampling_rate <= MAX_SAMPLING_RATE:
            raise AudioError(
                f"{self.name}: sampling rate of {self.sampling_rate} Hz; "
                f"give audio of {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE} Hz"
            )
        if self.channels > MAX_CHANNELS:
            raise AudioError(f"{self.name}: {self.channels} channels; give at most {MAX_CHANNELS}")
        self._block_frames = max(1, min(round(block_seconds * self.sampling_rate), 2**20 // self.channels))

    def read(self, start: int = 0, stop: int | None = None, dtype: str = "float32") -> np.ndarray:
        """Reads the samples from `start` to `stop`, once, (n, channels).

        What is before them is skipped if that is exact in this format, and decoded otherwise.
        """
        parts = [np.zeros((0, self.channels), dtype)]
        with self._reported_errors():
            position = self._decoder.skip_to(start) if start else 0
        for block in self._blocks(dtype, position):
            parts.append(block[max(0, start - position) : None if stop is None else max(0, stop - position)])
            position += len(block)
            if stop is not None and position >= stop:
                break
        return np.concatenate(parts)

    def blocks(self, dtype: str = "float32") -> Iterator[np.ndarray]:
        """Yields all samples, once, in blocks (n, channels). Integers of 32 bits need `"float64"` to be exact."""
        return self._blocks(dtype, 0)

    def _blocks(self, dtype: str, position: int) -> Iterator[np.ndarray]:
        blocks = self._decoder.blocks(self._block_frames, dtype)
        while True:
            with self._reported_errors():
                block = next(blocks, None)
            if block is None:
                break
            finite = np.isfinite(block)
            if not finite.all():
                seconds = (position + int(finite.all(axis=1).argmin())) / self.sampling_rate
                raise AudioError(f"{self.name}: holds NaN or infinity at {seconds:.3f} s; cut out or repair this part")
            position += len(block)
            yield block

    @property
    def dtype(self) -> str:
        return "float64" if self.subtype in ("PCM_32", "DOUBLE") else "float32"

    @property
    def file(self) -> BinaryIO:
        """The open file, or its copy, that can seek. Who reads it must bring it back to its position."""
        return self._file

    def restart(self) -> None:
        """Goes back to the first sample, so that all of them can be read again."""
        self._decoder.close()
        with self._reported_errors():
            self._start(*self._options)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.blocks()

    @contextlib.contextmanager
    def _reported_errors(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise AudioError(f"{self.name}: {describe_os_error(error)}") from error

    def close(self) -> None:
        if hasattr(self, "_decoder"):  # it was opened
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
    """Opens `source` as a file that can seek."""
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
