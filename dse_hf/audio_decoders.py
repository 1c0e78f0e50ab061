"""What `AudioReader` reads with: libsndfile for files of stored samples, FFmpeg (PyAV) for all others.

Both would read most files. libsndfile gives stored samples to the bit and tells when some are missing; but it ends an
mp3 without a length in its header at a guess, and a chained ogg file after its first link, where FFmpeg reads on.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile


READABLE = "wav, flac, ogg, opus, mp3, m4a, mp4, webm or mkv"

# First bytes of the files that libsndfile is asked about first.
_STORED = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"fLaC", b"caff")
# FFmpeg's containers that hold the audio themselves. Playlists and the like, which name other files, are not opened.
_CONTAINERS = (
    "mov,mp4,3gp,3g2,matroska,webm,ogg,mp3,aac,wav,w64,flac,aiff,caf,au,asf,avi,flv,mpeg,mpegts,ac3,eac3,dts,amr,"
    "ape,wv,tta"
)
# Those whose header tells the length; the others' is a guess from the bit rate.
_TIMED = ("mov,", "matroska,")
_STORED_CODECS = {"s16": "PCM_16", "s32": "PCM_32", "flt": "FLOAT", "dbl": "DOUBLE"}
_UNRECOGNISED, _UNSUPPORTED = 1, 4  # libsndfile's error codes
_UNKNOWN_FRAMES = 2**62  # libsndfile announces more when it does not know


class AudioError(ValueError):
    """An audio file that cannot be read or written: one line with its name, what is wrong, and the next step."""


class UnrecognisedError(Exception):
    """Not a format of this decoder."""


def open_decoder(file: BinaryIO, name: str) -> "SoundFileDecoder | PyAVDecoder":
    """The decoder for an open, seekable file.

    Raises:
        AudioError: the file holds no audio that can be read.
    """
    file.seek(0)
    decoders = [PyAVDecoder, SoundFileDecoder]
    if file.read(4) in _STORED:
        decoders.reverse()
    for decoder in decoders:
        file.seek(0)
        try:
            return decoder(file, name)
        except UnrecognisedError:
            continue
    raise AudioError(f"{name}: no audio format that can be read, or a damaged one; give {READABLE}")


def broken_off(name: str, reached: float, announced: float | None = None) -> AudioError:
    where = f"breaks off at {reached:.1f} s" if announced is None else f"breaks off at {reached:.1f} of {announced:.1f} s"
    return AudioError(f"{name}: {where}; copy it again, or keep that part: ffmpeg -i FILE part.wav")


class _SequentialSoundFile(soundfile.SoundFile):
    # soundfile seeks after every block that it reads of a file that can seek: slow, and it fails at the end of a
    # flac file of unknown length.
    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """Reads what libsndfile can, but for compressed streams (see the module's docstring)."""

    def __init__(self, file: BinaryIO, name: str):
        self.name = name
        try:
            self._sound = sound = _SequentialSoundFile(file)
        except soundfile.LibsndfileError as error:
            if error.code in (_UNRECOGNISED, _UNSUPPORTED):
                raise UnrecognisedError from error
            raise AudioError(f"{name}: damaged ({error.error_string.strip(' .')}); copy or export it again") from error
        except TypeError as error:  # a name that ends in .raw: soundfile takes it for samples without a header
            raise UnrecognisedError from error
        # Zero frames: a stream whose writer never came back to fill in the length. FFmpeg reads those to the end.
        if sound.format in ("MP3", "OGG") or sound.frames == 0:
            self.close()
            raise UnrecognisedError
        self.sampling_rate, self.channels, self.subtype = sound.samplerate, sound.channels, sound.subtype
        self.frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else None
        self.seconds = self.frames and self.frames / self.sampling_rate
        announced = _announced_share(sound.extra_info)
        if announced is not None:
            self.close()
            raise broken_off(name, self.seconds, self.seconds * announced)

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        """The samples as (n, channels) arrays, n ≤ `frames`."""
        position = 0
        while True:
            try:
                block = self._sound.read(frames, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError as error:
                raise broken_off(self.name, position / self.sampling_rate, self.seconds) from error
            if not len(block):
                break
            position += len(block)
            yield block
        if self.frames is not None and position < self.frames:
            raise broken_off(self.name, position / self.sampling_rate, self.seconds)

    def close(self) -> None:
        self._sound.close()


def _announced_share(log: str) -> float | None:
    """Bytes of samples that a header announces, as a multiple of those that the file holds; `None` if none lack.

    libsndfile reads what there is, and notes "data : 88200 (should be 1000)" in its log.
    """
    for announced, held in re.findall(r"(?m)^\s*(?:data|riff|Data Size|Riff size|SSND) : (\d+) \(should be (\d+)\)", log):
        announced, held = int(announced), int(held)
        # Writers to a pipe put the largest number there; it may count the header.
        placeholder = any(abs(announced - 2**bits) < 2**16 for bits in (31, 32, 63, 64))
        if announced > held + 8 and not placeholder:  # 8: padding of chunks
            return announced / max(held, 1)
    return None


class PyAVDecoder:
    """Reads the first or default audio track of what FFmpeg can, at the track's own rate and channels."""

    def __init__(self, file: BinaryIO, name: str):
        import av  # slow to import, and most files do without

        self.name, self._error = name, av.error.FFmpegError
        try:
            self._container = av.open(file, options={"format_whitelist": _CONTAINERS}, metadata_errors="replace")
        except self._error as error:
            raise UnrecognisedError from error
        try:
            self._start(file)
        except BaseException:
            self.close()
            raise

    def _start(self, file: BinaryIO) -> None:
        self._container_end_is_known = False
        self._stream = self._container.streams.best("audio")
        if self._stream is None:
            raise AudioError(f"{self.name}: no audio track; give a file with sound")
        if self._container.format.name == "ogg" and _ogg_is_cut(file):
            ...
