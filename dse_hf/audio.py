"""Audio files in and out, as streams of blocks: decoding, resampling, atomic writing."""

import errno
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr


MIN_SAMPLING_RATE = 1_000  # Hz
MAX_SAMPLING_RATE = 768_000  # Hz
MAX_CHANNELS = 64
READABLE = "wav, flac, ogg, opus, mp3, m4a, mp4, webm or mkv"

# libsndfile decodes these first: to the bit, and it tells when a file is cut off. The others are FFmpeg's first:
# libsndfile ends an mp3 without a length in its header at a guess, and an ogg chain after its first link.
_STORED = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"fLaC", b"caff")
# Containers of FFmpeg that hold the audio themselves. Playlists and the like name other files: never opened.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,aac,wav,w64,flac,aiff,caf,au,asf,avi,flv,mpeg,mpegts,"
    "ac3,eac3,dts,amr,ape,wv,tta"
)
# Extension → format and, where there is a choice, subtype of libsndfile.
_WRITABLE = {
    "wav": ("WAV", None),
    "w64": ("W64", None),
    "aiff": ("AIFF", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_WAV_LIMIT = 2**32 - 2**16  # bytes of samples that a wav can announce, with room for its header
_SLICE = 1 << 15  # frames given to libsndfile at once: its vorbis encoder keeps a block on the stack


class AudioError(ValueError):
    """An audio file that cannot be read or written: one line with its name, what is wrong, and the next step."""


class AudioReader:
    r"""
    Reads an audio file block by block: memory does not grow with the file.

        >>> with AudioReader("noisy.m4a") as reader:
        ...     for block in reader:  # (frames, channels) float32, full scale ±1
        ...         ...

    Args:
        source (`str`, `os.PathLike`, `bytes` or a binary file object): a path, an encoded file's content, or an
            open file; one that cannot seek (a pipe) is first copied to a temporary file.
        block_seconds (`float`): length of the blocks; shorter for very many channels.

    Attributes:
        name (`str`): the file's, for messages.
        sampling_rate (`int`): in Hz. channels (`int`).
        frames (`int` or `None`): samples per channel; `None` where only reading tells.
        seconds (`float` or `None`): length; an estimate where `frames` is `None`.
        subtype (`str`): libsndfile's name of the sample format (`"PCM_16"`, `"FLOAT"`, …) or the codec's.

    Raises:
        AudioError: when it is opened or read: missing, not permitted, a folder, no audio, empty, damaged, broken
            off, NaN or infinity, more than `MAX_CHANNELS`, a sampling rate outside `MIN_SAMPLING_RATE` to
            `MAX_SAMPLING_RATE`.
    """

    def __init__(self, source, block_seconds: float = 1.0):
        self.name = _name(source)
        self._file = _open(source, self.name)
        try:
            self._decoder = decoder = _decoder(self._file, self.name)
            self.sampling_rate, self.channels = decoder.sampling_rate, decoder.channels
            self.frames, self.seconds, self.subtype = decoder.frames, decoder.seconds, decoder.subtype
            if not MIN_SAMPLING_RATE <= self.sampling_rate <= MAX_SAMPLING_RATE:
                raise AudioError(
                    f"{self.name}: sampling rate of {self.sampling_rate} Hz; "
                    f"give audio of {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE} Hz"
                )
            if self.channels > MAX_CHANNELS:
                raise AudioError(f"{self.name}: {self.channels} channels; give at most {MAX_CHANNELS}")
        except BaseException:
            self.close()
            raise
        self._block_frames = max(1, min(round(block_seconds * self.sampling_rate), 2**20 // self.channels))

    def blocks(self, dtype: str = "float32") -> Iterator[np.ndarray]:
        """All samples, once, as blocks (frames, channels). 32-bit integers only fit `"float64"` to the bit."""
        position = 0
        for block in self._decoder.blocks(self._block_frames, dtype):
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                seconds = (position + int(finite.argmin())) / self.sampling_rate
                raise AudioError(f"{self.name}: holds NaN or infinity, first at {seconds:.3f} s; repair or cut it")
            position += len(block)
            yield block
        if position == 0:
            raise AudioError(f"{self.name}: holds no samples; record or export it again")
        if self.frames is not None and position < self.frames:
            raise _broken_off(self.name, position / self.sampling_rate, self.frames / self.sampling_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.blocks()

    def close(self) -> None:
        decoder = getattr(self, "_decoder", None)
        if decoder is not None:
            decoder.close()
        self._file.close()

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _name(source) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "audio data"
    name = str(getattr(source, "name", "audio data"))
    return "standard input" if name in ("<stdin>", "0") else name


def _open(source, name: str) -> BinaryIO:
    """A seekable binary file with the content of `source`, which the reader may close."""
    try:
        if isinstance(source, (bytes, bytearray, memoryview)):
            file = io.BytesIO(source)
        elif isinstance(source, (str, os.PathLike)):
            file = open(source, "rb")
        else:
            file = source
        if not file.seekable() or file is source:
            file = _copy(file)
    except OSError as error:
        raise AudioError(f"{name}: {_reason(error)}") from error
    if not file.read(1):
        file.close()
        raise AudioError(f"{name}: empty, 0 bytes; record or copy it again")
    return file


def _copy(file) -> BinaryIO:
    copy = tempfile.TemporaryFile()
    shutil.copyfileobj(file, copy, 1 << 20)
    copy.seek(0)
    return copy


