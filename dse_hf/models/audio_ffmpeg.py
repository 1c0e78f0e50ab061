"""Reads the audio tracks of a file with FFmpeg (PyAV)."""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from .audio_channels import mask_of_speakers
from .audio_files import (
    NO_SAMPLES,
    AudioError,
    SeekableAnywhere,
    UnrecognisedError,
    Unseekable,
    broken_off,
    is_placeholder,
    signature,
    start_of_content,
)
from .audio_formats import ffmpeg_demuxers


_LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "tta", "ape")
_SUBTYPES = {"s16": "PCM_16", "s32": "PCM_32", "flt": "FLOAT", "dbl": "DOUBLE"}  # FFmpeg's names → libsndfile's
_CONTAINERS_WITH_TIME_STAMPS = ("mov,", "matroska,")


def default_track(container) -> Any:
    """The audio track that players choose: the one marked as default, otherwise the first; `None` if there is none.

    FFmpeg prefers the one of which it sees most at the start of the file, if none is marked.
    """
    known = [track for track in container.streams.audio if track.codec_context and track.codec_context.sample_rate]
    return next((track for track in known if track.disposition & 1), known[0] if known else None)


class PyAVDecoder:
    """Reads an audio track of a file with FFmpeg, at the sampling rate and channels of the track.

    `track` counts the audio tracks from 1. `None` stands for the one that players choose.
    """

    frames = None

    def __init__(self, file: BinaryIO, name: str, track: int | None = None):
        try:
            import av  # here, because few files need it
        except ImportError:  # transformers would refuse to load the file if the `try` were not here
            raise
        self.name, self._ffmpeg_error, self._packer = name, av.error.FFmpegError, av.AudioResampler
        mp3_has_length = _mp3_has_length(file)
        # Of several chunks of samples in a wav, FFmpeg goes to the last one if it can.
        is_wav = signature(file) == b"RIFF"
        if is_wav:
            _check_wav_length(file, name)
        file.seek(0)
        source = Unseekable(file) if is_wav else SeekableAnywhere(file)
        try:
            options = {"format_whitelist": ffmpeg_demuxers()}
            self._container: Any = av.open(source, options=options, metadata_errors="replace")
        except (self._ffmpeg_error, ValueError) as error:
            raise UnrecognisedError(f"FFmpeg: {getattr(error, 'strerror', None) or error}") from error
        try:
            has_time_stamps = self._container.format.name.startswith(_CONTAINERS_WITH_TIME_STAMPS)
            # The headers of these files give the length. For others, FFmpeg guesses it from the bit rate.
            self._start(track, has_time_stamps, has_length=has_time_stamps or mp3_has_length)
        except BaseException:
            self.close()
            raise

    def _start(self, track: int | None, has_time_stamps: bool, has_length: bool) -> None:
        container = self._container
        self._stream = self._find(track)
        begin = (container.start_time or 0) / 1e6
        seconds = container.duration / 1e6 if container.duration else None
        self._announced_end = self._reached = 0.0
        if has_length and seconds:
            # The length that Matroska gives counts from 0.
            self._announced_end = seconds if container.format.name.startswith("matroska,") else seconds + begin
        if self._stream.duration:
            seconds = float(self._stream.duration * self._stream.time_base)
        self.seconds = seconds
        self._frames = self._decoded_frames()
        self._first: Any = next(self._frames, None)
        if self._first is None:
            raise AudioError(f"{self.name}: {NO_SAMPLES}")
        # The header may give half the sampling rate (HE-AAC), so the decoded audio decides.
        self.sampling_rate, self.channels = self._first.sample_rate, self._first.layout.nb_channels
        self.channel_mask = mask_of_speakers([channel.name for channel in self._first.layout.channels])
        first_time = _seconds(self._first)
        self.start = max(0.0, first_time - begin) if first_time is not None else 0.0
        self._clock = _Clock(self.sampling_rate, self._announced_end) if has_time_stamps else None
        codec, sample_format = self._stream.codec_context.codec.canonical_name, self._first.format.packed.name
        self.subtype = _SUBTYPES.get(sample_format) if codec.startswith(_LOSSLESS) else None
        self.subtype = "PCM_24" if codec.startswith("pcm_s24") else self.subtype or codec.upper()

    def _find(self, track: int | None) -> Any:
        tracks = self._container.streams.audio
        best = default_track(self._container) if track is None else None
        if not tracks or (track is None and best is None):  # there may be tracks without a known codec
            raise AudioError(f"{self.name}: has no audio track; give a file with sound")
        if track is None:
            return best
        if isinstance(track, bool) or not isinstance(track, int) or not 1 <= track <= len(tracks):
            there = ", ".join(_described(number, stream) for number, stream in enumerate(tracks, 1))
            raise AudioError(f"{self.name}: no audio track {track!r}; choose among {there}")
        if tracks[track - 1].codec_context is None:
            raise AudioError(f"{self.name}: audio track {track} is of an unknown codec; choose another one")
        return tracks[track - 1]

    def _decoded_frames(self) -> Iterator:
        try:
            # Packets of all tracks count for the length, because the sound of a film may end before its pictures.
            for packet in self._container.demux():
                if packet.pts is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self._reached = max(self._reached, end)
                if packet.stream.index == self._stream.index:  # the last, empty packets have no stream_index
                    yield from packet.decode()
        except (self._ffmpeg_error, IndexError) as error:  # an IndexError for a track that begins in the middle
            raise broken_off(self.name, self._reached, self.seconds) from error
        # A track that was trimmed a little may announce its former length.
        if self._reached < self._announced_end - max(0.25, 0.01 * self._announced_end):
            raise broken_off(self.name, self._reached, self._announced_end)

    def skip_to(self, frame: int) -> int:
        """Returns 0: reading starts at the first frame, as FFmpeg's seeks are not exact."""
        return 0

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        pending, count = [], 0
        for piece in self._pieces(frames, dtype):
            pending.append(piece)
            count += len(piece)
            if count >= frames:
                yield np.concatenate(pending)
                pending, count = [], 0
        if pending:
            yield np.concatenate(pending)

    def _pieces(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        """The samples of each frame, and the silence of each gap, at most `frames` at a time."""
        packed = self._packer(format=self._first.format.packed.name)
        for frame in chain([self._first], self._frames):
            if (frame.sample_rate, frame.layout.nb_channels) != (self.sampling_rate, self.channels):
                raise AudioError(
                    f"{self.name}: changes its sampling rate or channels at {frame.time or 0:.1f} s; "
                    "export it again with one of each"
                )
            gap = self._clock.gap_before(_seconds(frame), frame.samples) if self._clock else 0
            for start in range(0, gap, frames):
                yield np.zeros((min(frames, gap - start), self.channels), dtype)
            # PyAV 18 counts planes up to a null pointer. With eight or more there is none, and it would crash.
            several_planes = frame.format.is_planar and self.channels >= 8
            for part in packed.resample(frame) if several_planes else [frame]:
                yield _samples(part, dtype)

    def close(self) -> None:
        self._container.close()


class _Clock:
    """Compares the time stamps of frames with the samples so far, to find the gaps where sound was not recorded."""

    _JITTER = 0.005  # in seconds. Time stamps may be rounded to milliseconds
    _DRIFT = 0.05  # in seconds. The clock of the time stamps and that of the samples may drift apart
    _LONGEST = 6 * 3600.0  # in seconds. A longer gap is a wrong time stamp

    def __init__(self, sampling_rate: int, announced_end: float):
        self._rate, self._end = sampling_rate, announced_end + 1 if announced_end else float("inf")
        self._expected: float | None = None  # the time at which the samples so far end
        self._late = 0.0

    def gap_before(self, time: float | None, samples: int) -> int:
        """The samples of silence that bring the next frame to its time; no overlap is taken back."""
        gap = 0
        if time is not None:
            late = 0.0 if self._expected is None else time - self._expected
            if self._expected is None or late < -1 or late > self._LONGEST or time > self._end:
                self._expected, late = time, 0.0  # the first time stamp, or a wrong one
            elif late > self._DRIFT or (late > self._JITTER and late - self._late > self._JITTER):
                gap = round(late * self._rate)
                self._expected, late = self._expected + gap / self._rate, 0.0
            self._late = late
        if self._expected is not None:
            self._expected += samples / self._rate
        return gap


def _seconds(frame) -> float | None:
    """When a frame begins, in seconds."""
    return None if frame.pts is None else float(frame.pts * frame.time_base)


def _described(number: int, stream) -> str:
    """An audio track in an error message: `2 (eng, aac)`."""
    language = stream.metadata.get("language", "und")
    codec = stream.codec_context.codec.canonical_name if stream.codec_context is not None else "unknown codec"
    return f"{number} ({codec if language == 'und' else f'{language}, {codec}'})"


def _samples(frame, dtype: str) -> np.ndarray:
    """Converts a decoded frame to samples (n, channels), full scale ±1."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(dtype)
    if samples.dtype == np.uint8:
        return (samples.astype(dtype) - 128) / 128
    return samples.astype(dtype) / 2 ** (8 * samples.dtype.itemsize - 1)


def _check_wav_length(file: BinaryIO, name: str) -> None:
    """Raises an error if bytes are missing at the end of a wav file. FFmpeg would read what is there."""
    start = start_of_content(file)
    file.seek(start + 4)
    announced = int.from_bytes(file.read(4), "little") + 8
    present = file.seek(0, os.SEEK_END) - start
    if announced - present > 8 and not is_placeholder(announced):
        raise AudioError(f"{name}: breaks off after {present:,} of {announced:,} bytes; get it again")


def _mp3_has_length(file: BinaryIO) -> bool:
    """Whether the first frame of an mp3 gives the number of frames that follow."""
    file.seek(start_of_content(file))
    head = file.read(512)
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))
