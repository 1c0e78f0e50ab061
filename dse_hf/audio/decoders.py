"""The two decoders of `AudioReader`: libsndfile for wav, flac, ogg and similar formats, FFmpeg (PyAV) for the others.

Both could read most files. libsndfile gives stored samples exactly, and the right length of an ogg file. But it
guesses the end of an mp3 whose header has no length, and reads only the first link of an ogg chain.
"""

import os
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
import soundfile

from .formats import FORMATS, ffmpeg_demuxers, libsndfile_signatures


_LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "tta", "ape")
_SUBTYPES = {"s16": "PCM_16", "s32": "PCM_32", "flt": "FLOAT", "dbl": "DOUBLE"}  # FFmpeg's names → libsndfile's
_NO_SAMPLES = "holds no samples; record or export it again"
_UNRECOGNISED = (1, 4)  # libsndfile's error codes: unrecognised format, unsupported encoding
_UNKNOWN_FRAMES = 2**62  # libsndfile gives a larger number of frames if it does not know the length


class AudioError(ValueError):
    """A file cannot be read or written. The message is one line: the file, what is wrong, and what to do."""


def native_path(path) -> str | bytes:
    """Converts a path for soundfile. On POSIX it becomes bytes, since a file name there need not be valid text."""
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


class _UnrecognisedError(Exception):
    """The decoder does not recognise the file, so the next decoder may try."""


def open_decoder(file: BinaryIO, name: str, path=None) -> "SoundFileDecoder | PyAVDecoder":
    """Finds the decoder for an open file that can seek, given its name for messages, and its path if it has one.

    The decoder has `sampling_rate`, `channels`, `frames`, `seconds` and `subtype`, see [`AudioReader`], and
    `blocks(frames, dtype)`, which yields arrays (n, channels) of about `frames` samples.
    """
    decoders = [PyAVDecoder]
    if _first_bytes(file) in libsndfile_signatures() and not _is_ogg_chain(file, name):
        decoders = [SoundFileDecoder, PyAVDecoder]
    for decoder in decoders:
        file.seek(0)
        try:
            return decoder(file, name, path)
        except _UnrecognisedError:
            continue
    raise AudioError(f"{name}: not an audio format that can be read, or damaged; give one of {', '.join(FORMATS)}")


def _broken_off(name: str, reached: float, announced: float | None) -> AudioError:
    of = "" if announced is None else f" of {announced:.1f} s"
    return AudioError(
        f"{name}: breaks off or is damaged at {reached:.1f} s{of}; "
        "get it again, or save what is there as a file of its own (ffmpeg -i FILE part.wav)"
    )


def _first_bytes(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(4)


def _is_ogg_chain(file: BinaryIO, name: str) -> bool:
    """Whether the file is several ogg files in a row. Reads the header of every page to find out.

    A file that ends within a page raises an error. (A file without the end mark may be a stopped recording.)
    """
    size, position, in_headers = file.seek(0, os.SEEK_END), 0, True
    while position < size:
        file.seek(position)
        page = file.read(27 + 255)  # 27 bytes, the last of which is the number of segments, then their lengths
        if page[:4] != b"OggS":
            return False  # something else follows, which the decoder may judge
        whole = len(page) >= 27
        position += 27 + page[26] + sum(page[27 : 27 + page[26]]) if whole else 0
        if not whole or position > size:
            raise AudioError(f"{name}: breaks off in the middle of an ogg page; get it again")
        starts_stream = page[5] & 2
        if starts_stream and not in_headers:
            return True
        in_headers = bool(starts_stream)
    return False


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


# ── libsndfile ──


class _SequentialSoundFile(soundfile.SoundFile):
    # If it can, soundfile seeks after every block, which is slow and fails at the end of a flac stream.
    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """Reads files with libsndfile: wav (RIFF, RF64, W64), aiff, au, caf, flac, ogg and rarer formats."""

    def __init__(self, file: BinaryIO, name: str, path=None):
        self.name = name
        try:
            # By path if there is one, because the callbacks of a file object would swallow an interrupt.
            self._sound = _SequentialSoundFile(SeekableAnywhere(file) if path is None else native_path(path))
        except soundfile.LibsndfileError as error:
            if error.code in _UNRECOGNISED or _first_bytes(file) == b"OggS":
                raise _UnrecognisedError from error
            raise AudioError(f"{name}: damaged ({error.error_string.strip(' .')}); get it again") from error
        except TypeError as error:  # soundfile asks for the sample format of a file named .raw
            raise _UnrecognisedError from error
        try:
            self._read_header(file)
        except BaseException:
            self.close()
            raise

    def _read_header(self, file: BinaryIO) -> None:
        sound = self._sound
        if sound.subtype.startswith("MPEG"):
            raise _UnrecognisedError
        if sound.frames == 0:
            # The file is empty, or it is a stream whose writer could not fill in the length, which FFmpeg reads.
            file.seek(4)
            announced_size = int.from_bytes(file.read(4), "little") + 8
            if sound.format != "WAV" or announced_size >= file.seek(0, os.SEEK_END):
                raise AudioError(f"{self.name}: {_NO_SAMPLES}")
            raise _UnrecognisedError
        self.sampling_rate, self.channels, self.subtype = sound.samplerate, sound.channels, sound.subtype
        self.frames = sound.frames if sound.frames < _UNKNOWN_FRAMES else None
        self.seconds = None if self.frames is None else self.frames / self.sampling_rate
        share = _share_present(sound.extra_info)
        if share is not None and self.seconds is not None:
            raise _broken_off(self.name, self.seconds, self.seconds / share)

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        position = 0
        while True:
            try:
                block = self._sound.read(frames, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _broken_off(self.name, position / self.sampling_rate, self.seconds) from error
            if len(block) == 0:
                break
            position += len(block)
            yield block
        if self.frames is not None and position < self.frames:
            raise _broken_off(self.name, position / self.sampling_rate, self.seconds)

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


# ── FFmpeg ──


class PyAVDecoder:
    """Reads the default audio track of a file with FFmpeg, at the sampling rate and channels of the track."""

    frames = None

    def __init__(self, file: BinaryIO, name: str, path=None):
        import av  # slow to import, and not needed for files that libsndfile reads

        self.name, self._ffmpeg_error = name, av.error.FFmpegError
        mp3_has_length = _mp3_has_length(file)
        file.seek(0)
        try:
            options = {"format_whitelist": ffmpeg_demuxers()}
            self._container: Any = av.open(SeekableAnywhere(file), options=options, metadata_errors="replace")
        except (self._ffmpeg_error, ValueError) as error:
            raise _UnrecognisedError from error
        try:
            # The headers of these containers give the length. For others, FFmpeg guesses it from the bit rate.
            timed = self._container.format.name.startswith(("mov,", "matroska,")) or mp3_has_length
            self._start(timed)
        except BaseException:
            self.close()
            raise

    def _start(self, timed: bool) -> None:
        container = self._container
        self._stream: Any = container.streams.best("audio")
        if self._stream is None:
            raise AudioError(f"{self.name}: has no audio track; give a file with sound")
        seconds = container.duration / 1e6 if container.duration else None
        self._announced_end = self._reached = 0.0
        if timed and seconds:
            self._announced_end = seconds + (container.start_time or 0) / 1e6
        if self._stream.duration:
            seconds = float(self._stream.duration * self._stream.time_base)
        self.seconds = seconds
        self._frames = self._decoded_frames()
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise AudioError(f"{self.name}: {_NO_SAMPLES}")
        # The header may give half the sampling rate (HE-AAC), so the decoded audio decides.
        self.sampling_rate, self.channels = self._first.sample_rate, self._first.layout.nb_channels
        codec, sample_format = self._stream.codec_context.codec.canonical_name, self._first.format.packed.name
        self.subtype = _SUBTYPES.get(sample_format) if codec.startswith(_LOSSLESS) else None
        self.subtype = "PCM_24" if codec.startswith("pcm_s24") else self.subtype or codec.upper()

    def _decoded_frames(self) -> Iterator:
        try:
            # Packets of all tracks count for the length, because the sound of a film may end before its pictures.
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self._reached = max(self._reached, end)
                if packet.stream_index == self._stream.index:
                    yield from packet.decode()
        except (self._ffmpeg_error, IndexError) as error:  # an IndexError for a track that begins in the middle
            raise _broken_off(self.name, self._reached, self.seconds) from error
        # A track that was trimmed a little may announce its former length.
        if self._reached < self._announced_end - max(0.25, 0.01 * self._announced_end):
            raise _broken_off(self.name, self._reached, self._announced_end)

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        import av

        pending, count = [], 0
        # PyAV 18 counts planes up to a null pointer. With eight or more channels there is none, and it would crash.
        packed = av.AudioResampler(format=self._first.format.packed.name)
        for frame in chain([self._first], self._frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (self.sampling_rate, self.channels):
                raise AudioError(
                    f"{self.name}: changes its sampling rate or channels at {frame.time or 0:.1f} s; "
                    "export it again with one of each"
                )
            several_planes = frame.format.is_planar and self.channels >= 8
            pending += [_samples(part, dtype) for part in (packed.resample(frame) if several_planes else [frame])]
            count += frame.samples
            if count >= frames:
                yield np.concatenate(pending)
                pending, count = [], 0
        if pending:
            yield np.concatenate(pending)

    def close(self) -> None:
        self._container.close()


def _samples(frame, dtype: str) -> np.ndarray:
    """Converts a decoded frame to samples (n, channels), full scale ±1."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(dtype)
    if samples.dtype == np.uint8:
        return (samples.astype(dtype) - 128) / 128
    return samples.astype(dtype) / 2 ** (8 * samples.dtype.itemsize - 1)


def _mp3_has_length(file: BinaryIO) -> bool:
    """Whether the first frame of an mp3 gives the number of frames that follow."""
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        tag_length = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0)))
        file.seek(10 + tag_length)
        head = b""
    head += file.read(512)
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))
