"""Decodes the clips of a dataset to samples (C, T) at the sampling rate of the model."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import numpy as np

from ..audio import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE, AudioError, AudioReader, resample
from .augmentation import Waveform


# Clips longer than this, in seconds, are decoded only in part.
LONG_CLIP = 60.0
# A lower peak is silence. It is -100 dBFS, a third of a step of 16-bit audio.
SILENCE = 1e-5
# Words in a message of `AudioReader` → the reason.
REASON_OF_WORDS = {
    "sampling rate of": "impossible sampling rate",
    "empty, 0 bytes": "empty",
    "no samples": "empty",
    "NaN": "not finite",
}


class BadClipError(AudioError):
    """A clip cannot be used. `reason` is one of `REASONS`."""

    REASONS = ("unreadable", "empty", "silent", "impossible sampling rate", "not finite", "unequal lengths")

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class EncodedClip:
    """Opens an audio item of `datasets` and does not decode it yet.

    The item is a `dict` with `bytes` or `path` (a file, or a URL for `fsspec`), or with `array` (T,) or (C, T) and
    `sampling_rate`; or it is a path or bytes alone. `frames` is the number of samples of each channel. Raises
    `BadClipError` if the item holds no audio or no samples, or has an impossible sampling rate.
    """

    def __init__(self, item):
        self._samples: Waveform | None = None  # (T, C), if they are in memory
        if isinstance(item, dict) and item.get("array") is not None:
            samples = np.asarray(item["array"], np.float32)
            self._samples = samples.reshape(-1, samples.shape[-1]).T
            self.rate, self.frames = int(item.get("sampling_rate") or 0), len(self._samples)
        else:
            self._source = _source(item)
            with _bad_clip_errors(), AudioReader(self._source) as reader:
                self.rate = reader.sampling_rate
                self.frames = self._count(reader) if reader.frames is None else reader.frames
        if not MIN_SAMPLING_RATE <= self.rate <= MAX_SAMPLING_RATE:
            raise BadClipError("impossible sampling rate", f"sampling rate of {self.rate} Hz")
        if self.frames == 0:
            raise BadClipError("empty", "holds no samples")

    def _count(self, reader: AudioReader) -> int:
        """The length of a file whose header does not tell it. Keeps the samples of a short one."""
        blocks, frames = [], 0
        for block in reader:
            frames += len(block)
            blocks = [*blocks, block] if frames <= LONG_CLIP * reader.sampling_rate else []
        self._samples = np.concatenate(blocks) if blocks else None
        return frames

    def read(self, start: int = 0, stop: int | None = None) -> Waveform:
        """Decodes the frames from `start` to `stop`, (n, channels), or raises `BadClipError`."""
        if self._samples is None:
            with _bad_clip_errors(), AudioReader(self._source) as reader:
                return reader.read(start, stop)
        samples = self._samples[start:stop]
        if not np.isfinite(samples).all():
            raise BadClipError("not finite", "holds NaN or infinity")
        return samples


def _source(item) -> bytes | str:
    """What holds the audio of an item: bytes, or a path."""
    content, path = _content_and_path(item)
    source = content if content is not None else path
    if source is None:
        raise BadClipError("empty", "has neither bytes nor a path")
    if isinstance(source, str) and "://" in source:
        import fsspec

        with _bad_clip_errors(), fsspec.open(source, "rb") as file:
            return file.read()
    return source


@contextlib.contextmanager
def _bad_clip_errors() -> Generator[None]:
    """Whatever is wrong with one clip must not end a training."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        message = str(error).removeprefix("audio data: ")
        reason = next((reason for words, reason in REASON_OF_WORDS.items() if words in message), "unreadable")
        raise BadClipError(reason, message) from error


class RecordingAndCleaned:
    """Reads a recording and its cleaned version together, like one `EncodedClip` with twice as many channels."""

    def __init__(self, recording: EncodedClip, cleaned: EncodedClip, channels: int):
        if (recording.frames, recording.rate) != (cleaned.frames, cleaned.rate):
            lengths = " and ".join(f"{clip.frames} samples at {clip.rate} Hz" for clip in (recording, cleaned))
            raise BadClipError("unequal lengths", f"recording and cleaned have {lengths}")
        self.frames, self.rate = recording.frames, recording.rate
        self._clips, self._channels = (recording, cleaned), channels

    def read(self, start: int = 0, stop: int | None = None) -> Waveform:
        """Decodes the frames from `start` to `stop`, (n, 2·channels); the channels of the recording come first."""
        return np.concatenate([to_channels(clip.read(start, stop), self._channels) for clip in self._clips], axis=1)


def _content_and_path(item) -> tuple[bytes | None, str | None]:
    if isinstance(item, (str, Path)):
        return None, str(item)
    if isinstance(item, (bytes, bytearray)):
        return bytes(item), None
    return (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (None, None)


def clip_name(item, fallback: str) -> str:
    """The name of the clip for messages: its path, or `fallback` if it has none."""
    return _content_and_path(item)[1] or fallback


def to_channels(samples: Waveform, channels: int) -> Waveform:
    """Converts samples (T, n) to (T, channels), by mixing them down to mono and repeating that."""
    if samples.shape[1] == channels:
        return samples
    return np.repeat(samples.mean(axis=1, keepdims=True), channels, axis=1)


def decode_clip(item, sampling_rate: int, channels: int = 1) -> Waveform:
    """Decodes an audio item of `datasets` to samples (C, T) at `sampling_rate`.

    Raises:
        BadClipError: the item holds no audio that can be used.
    """
    return decode_whole(EncodedClip(item), sampling_rate, channels)


def decode_whole(clip: EncodedClip | RecordingAndCleaned, sampling_rate: int, channels: int) -> Waveform:
    """Decodes all of an opened clip, (C, T)."""
    return resample(to_channels(clip.read(), channels), clip.rate, sampling_rate).T


def decode_stretch(
    clip: EncodedClip | RecordingAndCleaned, start: int, length: int, sampling_rate: int, channels: int = 1
) -> Waveform:
    """Decodes the samples from `start` to `start + length` of an opened clip, (C, length).

    Positions are counted at `sampling_rate`. Before and after the clip there is silence. Only this stretch, and 50 ms
    on both sides, is decoded.
    """
    # Whole samples at both rates: multiples of `step` at the rate of the clip, and of `grid` at that of the model.
    divisor = int(np.gcd(clip.rate, sampling_rate))
    step, grid = clip.rate // divisor, sampling_rate // divisor
    margin = -(-clip.rate // 20 // step) if step != grid else 0
    first = max(0, start // grid - margin)
    last = -(-(start + length) // grid) + margin
    samples = clip.read(first * step, max(last * step, first * step))
    samples = resample(to_channels(samples, channels), clip.rate, sampling_rate)
    samples = samples[start - first * grid :][:length]
    return np.pad(samples, ((0, length - len(samples)), (0, 0))).T


def read_clip(
    clip: EncodedClip | RecordingAndCleaned, sampling_rate: int, channels: int = 1, stretch: tuple | None = None
) -> Waveform:
    """Decodes an opened clip, (C, T). Raises `BadClipError` if it is damaged, or silent from start to end.

    Of a clip longer than a minute, only a random `stretch` is decoded: a number of samples, and a random generator.
    """
    if stretch is not None and clip.frames > LONG_CLIP * clip.rate:
        length, rng = stretch
        total = clip.frames * sampling_rate // clip.rate
        start = int(rng.integers(max(total - length, 0) + 1))
        waveform = decode_stretch(clip, start, length, sampling_rate, channels)
        if not is_silent(waveform):
            return waveform
        whole = read_clip(clip, sampling_rate, channels)  # to tell a pause from a silent clip
        return whole[:, start : start + length]
    waveform = decode_whole(clip, sampling_rate, channels)
    if is_silent(waveform):
        raise BadClipError("silent", "silent from start to end")
    return waveform


def is_silent(waveform: Waveform) -> bool:
    return waveform.size == 0 or float(np.abs(waveform).max()) < SILENCE
