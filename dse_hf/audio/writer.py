"""Writes audio files block by block. A file appears only when it is complete."""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path

import numpy as np
import soundfile

from ..errors import describe_os_error
from ..files import atomic_write
from ..models.audio_channels import VORBIS_ORDER, write_channel_mask
from ..models.audio_files import AudioError, native_path
from ..models.audio_formats import FORMATS, SAMPLE_BITS, integer_bits, writable_formats


_WAV_LIMIT = 2**32 - 2**16  # bytes of samples that the header of a wav can announce, less its own size
UNFINISHED = "could not be written completely; make room on the disk, or choose another folder or format"
_SLICE = 2**15  # frames that libsndfile encodes at once: its vorbis encoder keeps them on the stack


def output_format(file_format: str, input_subtype: str | None) -> tuple[str, str]:
    """Chooses how to write a file.

    Args:
        file_format (`str`): a suffix of the table of formats, without the dot.
        input_subtype (`str` or `None`): the sample format of the input, see `AudioReader.subtype`.

    Returns:
        `tuple[str, str]`: libsndfile's names of the container and of the sample format or codec.

    Raises:
        AudioError: the format cannot be written.
    """
    entry = FORMATS.get(file_format)
    if entry is None or entry.container is None:
        raise AudioError(f"format {file_format!r} cannot be written; choose one of {', '.join(writable_formats())}")
    subtype = entry.subtype
    if subtype is None:
        subtype = input_subtype if input_subtype in SAMPLE_BITS else "PCM_16"
        if not soundfile.check_format(entry.container, subtype):
            subtype = "PCM_24"  # flac stores no floats, and libsndfile writes no 32-bit flac
    return entry.container, subtype


def quantize(block: np.ndarray, subtype: str) -> np.ndarray:
    """Rounds samples to the integers that `subtype` stores and clips them to full scale.

    Returns floats of full scale ±1. Samples for a format of floats, or for a codec, stay as they are.
    """
    bits = integer_bits(subtype)
    if bits is None:
        return block
    scale = 2.0 ** (bits - 1)
    return np.clip(np.rint(block * scale), -scale, scale - 1) / scale


class FileWriter(ABC):
    """What the writers of files share: the checks of the name, and the temporary file that gets it at the end."""

    subtype: str

    def __init__(self, path, overwrite: bool):
        self.path, self._overwrite = Path(path), overwrite
        self.notes: list[str] = []
        if os.path.isdir(self.path):
            raise AudioError(f"{self.path}: is a folder; choose another name or folder for the output")
        if os.path.exists(self.path) and not overwrite:
            raise self._exists()

    def _exists(self) -> AudioError:
        return AudioError(f"{self.path}: exists; pass --overwrite (overwrite=True) to replace it, or --skip-existing")

    @contextlib.contextmanager
    def _opening(self) -> Generator[Path]:
        """Yields the name of the new, empty temporary file. It is removed if the block raises an error."""
        try:
            with contextlib.ExitStack() as exits:
                self.part = exits.enter_context(atomic_write(self.path, self._overwrite))
                open(self.part, "xb").close()  # an OSError says what is wrong, and libsndfile's error does not
                yield self.part
                exits.push(self._close_before_renaming)
                self._exits = exits.pop_all()
        except OSError as error:
            raise AudioError(f"{self.path}: {describe_os_error(error)}") from error

    @abstractmethod
    def write(self, block: np.ndarray) -> None:
        """Adds a block (n, channels), full scale ±1."""

    @abstractmethod
    def close(self) -> None:
        """Finishes the temporary file. Leaving the `with` block also does this, and then renames the file."""

    def check(self) -> None:  # noqa: B027 (nothing to check by default)
        """Raises an AudioError if the finished temporary file is not complete."""

    def abandon(self) -> None:
        """Closes the temporary file, which is then removed."""
        self.close()

    def _close_before_renaming(self, exception_type, *exception) -> None:
        if exception_type is None:
            self.close()
            return
        with contextlib.suppress(AudioError):  # the first error is the one to report
            self.abandon()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        try:
            self._exits.__exit__(*exception)
        except FileExistsError as error:  # another process was faster
            raise self._exists() from error
        except OSError as error:
            raise AudioError(f"{self.path}: {describe_os_error(error)}") from error


class AudioWriter(FileWriter):
    r"""
    Writes an audio file block by block, first under a temporary name. Leaving the `with` block without an error gives
    the file its name; leaving it with an error removes the temporary file.

        >>> with AudioWriter("clean.wav", sampling_rate=16000, channels=1) as writer:
        ...     writer.write(block)  # (frames, channels), full scale ±1

    Args:
        path (`str` or `os.PathLike`): the file. Its suffix, one of `FILE_FORMATS`, chooses the format.
        sampling_rate, channels (`int`): sampling rate in Hz and number of channels of the samples.
        input_subtype (`str`, *optional*, defaults to `"PCM_16"`): the sample format, if the file format has it.
        channel_mask (`int`, *optional*): the loudspeakers of the channels, see [`AudioReader`]. wav and aiff store it.
        seconds (`float`, *optional*): the expected length. A wav that will exceed 4 GB is written as RF64.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Attributes:
        subtype (`str`): libsndfile's name of the sample format or codec of the file.

    Raises:
        AudioError: on opening, writing or closing. The file exists, the folder cannot be written to, the disk
            is full, or the format does not support this sampling rate or number of channels.
    """

    def __init__(
        self,
        path,
        sampling_rate: int,
        channels: int,
        *,
        input_subtype: str | None = "PCM_16",
        channel_mask: int | None = None,
        seconds: float | None = None,
        overwrite: bool = False,
    ):
        suffix = Path(path).suffix[1:].lower()
        container, self.subtype = output_format(suffix, input_subtype)
        unsupported = f"{path}: {suffix} cannot hold {channels} channels at {sampling_rate} Hz; choose wav"
        if sampling_rate > (FORMATS[suffix].max_sampling_rate or sampling_rate):
            raise AudioError(unsupported)
        super().__init__(path, overwrite)
        self._frame_bytes, self._frames = channels * SAMPLE_BITS.get(self.subtype, 0) // 8, 0
        if container == "WAV" and (seconds or 0) * sampling_rate * self._frame_bytes * 1.02 > _WAV_LIMIT:
            container = "RF64"
        self._limit = _WAV_LIMIT if container == "WAV" else None
        if container == "WAV" and channel_mask is not None:
            container = "WAVEX"
        self._container, self._mask = container, channel_mask
        self._order = np.argsort(VORBIS_ORDER[channels]) if container == "OGG" and channels in VORBIS_ORDER else None
        with self._opening() as part:
            try:
                self._sound = soundfile.SoundFile(
                    native_path(part), "w", sampling_rate, channels, subtype=self.subtype, format=container
                )
            except soundfile.LibsndfileError as error:
                raise AudioError(unsupported) from error

    def write(self, block: np.ndarray) -> None:
        """Adds a block (n, channels), full scale ±1."""
        self._frames += len(block)
        if self._limit is not None and self._frames * self._frame_bytes > self._limit:
            raise AudioError(f"{self.path}: longer than the 4 GB of a wav; choose the format w64 or flac")
        if self._order is not None:
            block = block[:, self._order]
        bits = integer_bits(self.subtype)
        if bits:  # as integers: libsndfile writes floats with the scale 2^15 - 1 and reads them with 2^15
            scale = 2.0 ** (bits - 1)
            block = quantize(block.astype(np.float64), self.subtype) * scale
            block = block.astype(np.int32) << (32 - bits)
        try:
            for start in range(0, len(block), _SLICE):
                self._sound.write(block[start : start + _SLICE])
        except (soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts that all frames are written
            raise AudioError(f"{self.path}: {UNFINISHED}") from error

    def close(self) -> None:
        """Finishes the temporary file. Leaving the `with` block also does this, and then renames the file."""
        sound, self._sound = self._sound, None
        if sound is not None:
            try:
                sound.close()
                if self._mask is not None and self._container in ("WAVEX", "RF64", "AIFF"):
                    with open(self.part, "r+b") as file:
                        write_channel_mask(file, self._container, self._mask)
            except (soundfile.LibsndfileError, OSError) as error:
                raise AudioError(f"{self.path}: {UNFINISHED}") from error
            self.check()

    def check(self) -> None:
        """Raises an AudioError if the finished temporary file lacks samples."""
        try:
            # libsndfile does not report the errors of what its encoders write last.
            frames = soundfile.info(native_path(self.part)).frames
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.path}: {UNFINISHED}") from error
        if frames != self._frames:
            raise AudioError(f"{self.path}: {UNFINISHED}")
