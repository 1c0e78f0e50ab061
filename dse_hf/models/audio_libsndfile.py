"""Reads audio files with libsndfile."""

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from .audio_channels import VORBIS_MASKS, VORBIS_ORDER, aiff_channel_mask
from .audio_files import (
    SeekableAnywhere,
    UnrecognisedError,
    broken_off,
    is_placeholder,
    native_path,
    start_of_content,
)
from .audio_formats import SAMPLE_BITS


try:
    import soundfile
except ImportError:  # on the Hub; FFmpeg reads most of these files too
    soundfile = None


_SAMPLES = (*SAMPLE_BITS, "PCM_S8", "PCM_U8", "ULAW", "ALAW")  # formats whose samples all have one size
_UNKNOWN_FRAMES = 2**62  # libsndfile gives a larger number of frames if it does not know the length


class SoundFileDecoder:
    """Reads files with libsndfile: wav (RIFF, RF64, W64), aiff, au, caf, flac, ogg and rarer formats.

    `part` are the first byte to read and the one after the last.
    """

    start = 0.0  # these containers have no time stamps

    def __init__(self, file: BinaryIO, name: str, path=None, part: tuple[int, int] | None = None):
        self.name, self._position = name, 0
        if soundfile is None:
            raise ImportError("No module named 'soundfile'", name="soundfile")
        # libsndfile takes the length of a tag for one of the sound.
        source = SeekableAnywhere(file, *(part or (start_of_content(file), None)))
        try:
            # By path if there is one, because the callbacks of a file object would swallow an interrupt.
            by_path = path is not None and file.tell() == 0
            self._sound = soundfile.SoundFile(native_path(path) if by_path else source)
        except soundfile.LibsndfileError as error:
            raise UnrecognisedError(f"libsndfile: {' '.join(error.error_string.split()).strip('. ')}") from error
        except TypeError as error:  # soundfile asks for the sample format of a file named .raw
            raise UnrecognisedError("libsndfile: format not recognised") from error
        # If it can, soundfile seeks after every block, which is slow and fails at the end of a flac stream.
        self._sound.seekable = lambda: False
        try:
            self._read_header(file)
        except BaseException:
            self.close()
            raise

    def _read_header(self, file: BinaryIO) -> None:
        sound = self._sound
        if sound.subtype.startswith("MPEG"):
            raise UnrecognisedError("libsndfile: guesses the length")
        if sound.frames == 0:
            # The file is empty, or it is a stream whose writer could not fill in the length, which FFmpeg reads.
            raise UnrecognisedError("libsndfile: no samples")
        self.sampling_rate, self.channels, self.subtype = sound.samplerate, sound.channels, sound.subtype
        self.frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else None
        self.seconds = None if self.frames is None else self.frames / self.sampling_rate
        self._order, self.channel_mask = self._layout(file)
        share = _share_present(sound.extra_info)
        if share is not None and self.seconds is not None:
            raise broken_off(self.name, self.seconds, self.seconds / share)

    def _layout(self, file: BinaryIO) -> tuple[tuple[int, ...] | None, int | None]:
        """Where the channels of wav are among those of the file, if it has another order, and the channel mask."""
        if self._sound.format == "OGG":
            return VORBIS_ORDER.get(self.channels), VORBIS_MASKS.get(self.channels)
        if self._sound.format == "AIFF":
            position = file.tell()  # where libsndfile expects it, if it reads this object
            mask = aiff_channel_mask(file)
            file.seek(position)
            return None, mask
        mask = re.search(r"(?m)^ *Channel Mask *: 0x([0-9A-F]+)", self._sound.extra_info)
        return None, int(mask[1], 16) if mask else None

    def skip_to(self, frame: int) -> int:
        """Goes to a frame before the first block is read, if that is exact in this format. Returns where it is now."""
        # libsndfile is a few samples off, now and then, in Vorbis, and fails in GSM.
        if self.frames is None or not (self.subtype in _SAMPLES or self._sound.format == "FLAC"):
            return 0
        try:
            self._position = self._sound.seek(min(frame, self.frames))
        except RuntimeError as error:
            raise broken_off(self.name, frame / self.sampling_rate, self.seconds) from error
        return self._position

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        while True:
            most = frames if self.frames is None else min(frames, self.frames - self._position)
            try:
                block = self._sound.read(most, dtype=dtype, always_2d=True)
            except RuntimeError as error:
                raise broken_off(self.name, self._position / self.sampling_rate, self.seconds) from error
            if len(block) == 0:
                break
            self._position += len(block)
            yield block if self._order is None else block[:, self._order]
        if self.frames is not None and self._position < self.frames:
            raise broken_off(self.name, self._position / self.sampling_rate, self.seconds)

    def close(self) -> None:
        self._sound.close()


def _share_present(log: str) -> float | None:
    """The share of the announced samples that the file contains; `None` if it contains all of them.

    libsndfile reads an incomplete file without an error, and writes in its log: "data : 88200 (should be 1000)".
    """
    sizes = re.findall(r"(?m)^ *(?:data|riff|Data Size|Riff size|SSND) *: (\d+) \(should be (\d+)\)", log)
    for announced, present in sizes:
        announced, present = int(announced), int(present)
        if announced - present > 8 and not is_placeholder(announced):  # chunks may be padded by up to 8 bytes
            return max(present, 1) / announced
    return None
