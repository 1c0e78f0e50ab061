"""Writes audio files: formats, sample formats, and files that appear only when they are complete."""

import contextlib
import os
from pathlib import Path

import numpy as np
import soundfile

from ..errors import describe_os_error
from ..files import temporary_name
from .decoders import AudioError, native_path


# Extension → libsndfile's format and, where the input has no say in it, subtype.
_FORMATS = {
    "wav": ("WAV", None),
    "w64": ("W64", None),
    "aiff": ("AIFF", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
FILE_FORMATS = tuple(_FORMATS)
_BITS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_WAV_LIMIT = 2**32 - 2**16  # bytes of samples that a wav can announce, less its header
_MAX_RATES = {"ogg": 200_000}  # Hz; beyond it libvorbis crashes
_UNFINISHED = "could not be written completely; make room on the disk, or choose another folder or format"
_SLICE = 2**15  # frames that libsndfile encodes at once: its vorbis encoder keeps them on the stack


def output_format(file_format: str, input_subtype: str) -> tuple[str, str]:
    """libsndfile's format and subtype for an extension, given the input's subtype.

    Raises:
        AudioError: a format that cannot be written.
    """
    if file_format not in _FORMATS:
        raise AudioError(f"format {file_format!r} cannot be written; choose one of {', '.join(FILE_FORMATS)}")
    container, subtype = _FORMATS[file_format]
    if subtype is None:
        subtype = input_subtype if input_subtype in _BYTES else "PCM_16"
        if not soundfile.check_format(container, subtype):
            subtype = "PCM_24"  # flac stores no floats, and libsndfile no 32 bits in it
    return container, subtype


def quantize(block: np.ndarray, subtype: str) -> np.ndarray:
    """Rounds a block to what `subtype` stores, clipped to full scale; others stay as they are."""
    if subtype not in _BITS:
        return block
    scale = 2.0 ** (_BITS[subtype] - 1)
    return np.clip(np.rint(block * scale), -scale, scale - 1) / scale


class AudioWriter:
    r"""
    Writes an audio file block by block under a temporary name beside it; it gets its name when all went well.

        >>> with AudioWriter("clean.wav", sampling_rate=16000, channels=1) as writer:
        ...     writer.write(block)  # (frames, channels), full scale ±1

    Args:
        path (`str` or `os.PathLike`): its extension, one of `FILE_FORMATS`, chooses the format.
        sampling_rate, channels (`int`): of the samples.
        input_subtype (`str`, *optional*, defaults to `"PCM_16"`):
            Sample format to keep where the file's format can; see `AudioReader.subtype`.
        seconds (`float`, *optional*): expected length: a wav of more than 4 GB becomes an RF64.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Attributes:
        subtype (`str`): libsndfile's name of the sample format that is written.

    Raises:
        AudioError: on opening, writing or closing. The file exists, the folder cannot be written to, the disk
            is full, or the format cannot hold this rate or number of channels.
    """

    def __init__(
        self,
        path,
        sampling_rate: int,
        channels: int,
        *,
        input_subtype: str = "PCM_16",
        seconds: float | None = None,
        overwrite: bool = False,
    ):
        self.path = Path(path)
        extension = self.path.suffix[1:].lower()
        container, self.subtype = output_format(extension, input_subtype)
        cannot_hold = f"{self.path}: {extension} cannot hold {channels} channels at {sampling_rate} Hz; choose wav"
        if sampling_rate > _MAX_RATES.get(extension, sampling_rate):
            raise AudioError(cannot_hold)
        if os.path.isdir(self.path):
            raise AudioError(f"{self.path}: is a folder; choose another name or folder for the output")
        if os.path.exists(self.path) and not overwrite:
            raise AudioError(f"{self.path}: exists; pass --overwrite (overwrite=True) to replace it")
        self._frame_bytes, self._frames = channels * _BYTES.get(self.subtype, 0), 0
        if container == "WAV" and (seconds or 0) * sampling_rate * self._frame_bytes * 1.02 > _WAV_LIMIT:
            container = "RF64"
        self._limit = _WAV_LIMIT if container == "WAV" else None
        self._part = temporary_name(self.path)
        self._sound = None
        try:
            open(self._part, "xb").close()  # its error tells the reason, which libsndfile's does not
            self._sound = soundfile.SoundFile(
                native_path(self._part), "w", sampling_rate, channels, subtype=self.subtype, format=container
            )
        except OSError as error:
            self.discard()
            raise AudioError(f"{self.path}: {describe_os_error(error)}") from error
        except soundfile.LibsndfileError as error:
            self.discard()
            raise AudioError(cannot_hold) from error
        except BaseException:
            self.discard()
            raise

    def write(self, block: np.ndarray) -> None:
        """Adds a block (n, channels)."""
        self._frames += len(block)
        if self._limit is not None and self._frames * self._frame_bytes > self._limit:
            raise AudioError(f"{self.path}: longer than the 4 GB of a wav; choose the format w64 or flac")
        bits = _BITS.get(self.subtype)
        if bits:  # as integers: libsndfile's own scale for floats, 2^15 - 1, is not that of its reader, 2^15
            scale = 2.0 ** (bits - 1)
            block = quantize(block.astype(np.float64), self.subtype) * scale
            block = block.astype(np.int32) << (32 - bits)
        try:
            for start in range(0, len(block), _SLICE):
                self._sound.write(block[start : start + _SLICE])
        except (soundfile.LibsndfileError, AssertionError) as error:  # asserted: all frames were written
            raise AudioError(f"{self.path}: {_UNFINISHED}") from error

    def close(self) -> None:
        """Finishes the temporary file. Leaving the `with` block does it too, then gives the file its name."""
        sound, self._sound = self._sound, None
        if sound is not None:
            try:
                sound.close()
                # libsndfile forgets the errors of what its encoders write last.
                frames = soundfile.info(native_path(self._part)).frames
            except soundfile.LibsndfileError as error:
                raise AudioError(f"{self.path}: {_UNFINISHED}") from error
            if frames != self._frames:
                raise AudioError(f"{self.path}: {_UNFINISHED}")

    def discard(self) -> None:
        """Removes the temporary file."""
        with contextlib.suppress(AudioError):  # not wanted any more
            self.close()
        with contextlib.suppress(OSError):  # not there, or its folder is not
            self._part.unlink()

    def __enter__(self) -> "AudioWriter":
        return self

    def __exit__(self, exception_type, *exception) -> None:
        try:
            if exception_type is None:
                self.close()
                os.replace(self._part, self.path)
        except OSError as error:
            raise AudioError(f"{self.path}: {describe_os_error(error)}") from error
        finally:
            self.discard()
