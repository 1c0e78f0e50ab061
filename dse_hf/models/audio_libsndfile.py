"""Reads audio files with libsndfile."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from .audio_files import (
    NO_SAMPLES,
    AudioError,
    SeekableAnywhere,
    UnrecognisedError,
    broken_off,
    first_bytes,
    native_path,
)


_UNRECOGNISED = (1, 4)  # libsndfile's error codes: unrecognised format, unsupported encoding
_UNKNOWN_FRAMES = 2**62  # libsndfile gives a larger number of frames if it does not know the length


class _SequentialSoundFile(soundfile.SoundFile):
    # If it can, soundfile seeks after every block, which is slow and fails at the end of a flac stream.
    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """Reads files with libsndfile: wav (RIFF, RF64, W64), aiff, au, caf, flac, ogg and rarer formats."""

    start = 0.0  # these containers have no time stamps

    def __init__(self, file: BinaryIO, name: str, path=None, track: int | None = None):
        self.name = name
        try:
            # By path if there is one, because the callbacks of a file object would swallow an interrupt.
            self._sound = _SequentialSoundFile(SeekableAnywhere(file) if path is None else native_path(path))
        except soundfile.LibsndfileError as error:
            if error.code in _UNRECOGNISED or first_bytes(file) == b"OggS":
                raise UnrecognisedError from error
            raise AudioError(f"{name}: damaged ({error.error_string.strip(' .')}); get it again") from error
        except TypeError as error:  # soundfile asks for the sample format of a file named .raw
            raise UnrecognisedError from error
        try:
            self._read_header(file)
        except BaseException:
            self.close()
            raise

    def _read_header(self, file: BinaryIO) -> None:
        sound = self._sound
        if sound.subtype.startswith("MPEG"):
            raise UnrecognisedError
        if sound.frames == 0:
            # The file is empty, or it is a stream whose writer could not fill in the length, which FFmpeg reads.
            file.seek(4)
            announced_size = int.from_bytes(file.read(4), "little") + 8
            if sound.format != "WAV" or announced_size >= file.seek(0, os.SEEK_END):
                raise AudioError(f"{self.name}: {NO_SAMPLES}")
            raise UnrecognisedError
        self.sampling_rate, self.channels, self.subtype = sound.samplerate, sound.channels, sound.subtype
        self.frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else None
        self.seconds = None if self.frames is None else self.frames / self.sampling_rate
        share = _share_present(sound.extra_info)
        if share is not None and self.seconds is not None:
            raise broken_off(self.name, self.seconds, self.seconds / share)

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        position = 0
        while True:
            try:
                block = self._sound.read(frames, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError as error:
                raise broken_off(self.name, position / self.sampling_rate, self.seconds) from error
            if len(block) == 0:
                break
            position += len(block)
            yield block
        if self.frames is not None and position < self.frames:
            raise broken_off(self.name, position / self.sampling_rate, self.seconds)

    def close(self) -> None:
        self._sound.close()


def _share_present(log: str) -> float | None:
    """The share of the announced samples that the file contains; `None` if it contains all of them.

    libsndfile reads an incomplete file without an error, and writes in its log: "data : 88200 (should be 1000)".
    """
    sizes = re.findall(r"(?m)^ *(?:data|riff|Data Size|Riff size|SSND) *: (\d+) \(should be (\d+)\)", log)
    for announced, present in sizes:
        announced, present = int(announced), int(present)
        # Programs that write to a pipe announce the largest number, sometimes less the length of the header.
        placeholder = any(abs(announced - 2**bits) < 2**16 for bits in (31, 32, 63, 64))
        if announced - present > 8 and not placeholder:  # chunks may be padded by up to 8 bytes
            return max(present, 1) / announced
    return None
