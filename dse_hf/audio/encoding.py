"""Chooses how to encode a cleaned audio track, and encodes it with FFmpeg (PyAV)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..models.audio_formats import integer_bits
from .resampling import Resampler
from .writer import quantize


@dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg. Encoders of stored samples have a `subtype`, libsndfile's name of the sample format."""

    name: str
    sample_format: str = "flt"  # FFmpeg's name of the packed sample format that frames are built in
    subtype: str | None = None
    most_bits: int = 0  # the highest bit rate in bits/s
    per_channel: bool = False  # whether that is the rate of one channel

    def bit_rate(self, wanted: int, channels: int) -> int:
        # A second encoding at a low rate would be heard. Beside pictures, this many bits do not count.
        wanted = max(wanted, 64_000 * channels)
        return min(wanted, self.most_bits * (channels if self.per_channel else 1))


_PCM = {"s16": ("s16", "PCM_16"), "s24": ("s32", "PCM_24"), "s32": ("s32", "PCM_32"), "f32": ("flt", "FLOAT")}
# FFmpeg's name of the codec → its encoder. A track in another codec gets that of `FALLBACK`.
ENCODERS = {
    "aac": Encoder("aac", most_bits=256_000, per_channel=True),
    "opus": Encoder("libopus", most_bits=256_000, per_channel=True),
    "mp3": Encoder("libmp3lame", most_bits=320_000),
    "ac3": Encoder("ac3", most_bits=640_000),
    "eac3": Encoder("eac3", most_bits=640_000),
    **{f"pcm_{bits}{end}": Encoder(f"pcm_{bits}{end}", *_PCM[bits]) for bits in _PCM for end in ("le", "be")},
    **dict.fromkeys(("pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw"), Encoder("pcm_s16le", "s16", "PCM_16")),
}
_LOSSLESS = ("flac", "alac")
# FFmpeg's name of the container → the codec for tracks that cannot be encoded as they were.
FALLBACK = {"mp4": "aac", "mov": "aac", "matroska": "opus", "webm": "opus"}
_DELAYED = 0x20  # a capability of encoders: they give all samples back. Others need silence to push the last ones out
# FFmpeg's names of the usual layouts, for a track whose header gives another number of channels (HE-AAC 2).
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def encoders_for(codec, muxer: str) -> list[Encoder]:
    """The encoders to try for a track, best first, given its codec context."""
    name = codec.codec.canonical_name
    chosen = ENCODERS.get(name)
    if name in _LOSSLESS:
        chosen = Encoder(name, *_PCM["s16" if codec.format.name.startswith("s16") else "s24"])
    fallback = ENCODERS[FALLBACK[muxer]]
    return [fallback] if chosen is None or chosen == fallback else [chosen, fallback]


def layouts_for(codec, channels: int) -> list[str]:
    """The layouts to try for a track, best first: encoders know few that are not usual."""
    own = [codec.layout.name] if codec.layout.nb_channels == channels else []
    return [*own, *([_LAYOUTS[channels]] if channels in _LAYOUTS else [])]


class TrackEncoder:
    """Encodes blocks of samples to packets of a stream of an output container.

    Args:
        output (`av.container.OutputContainer`): gets a new stream, `stream`.
        encoder (`Encoder`), bit_rate (`int`, in bits/s): how to encode.
        layout (`str`): FFmpeg's name of the layout of the channels, see [`layouts_for`].
        sampling_rate, channels (`int`): of the blocks.
        start (`Fraction`): the time of the first sample, in seconds.

    Raises:
        ValueError, av.error.FFmpegError: the container or the encoder does not support this.
    """

    def __init__(self, output, encoder: Encoder, bit_rate: int, layout, sampling_rate: int, channels: int, start):
        import av

        codec = av.Codec(encoder.name, "w")
        self.encoder, self._rate = encoder, _supported_rate(codec, sampling_rate)
        self._resampler = Resampler(sampling_rate, self._rate, channels)
        self.layout = layout
        formats = {audio_format.packed.name: audio_format.name for audio_format in codec.audio_formats or ()}
        sample_format = formats.get(encoder.sample_format) or next(iter(formats.values()), encoder.sample_format)

        def opened(context) -> None:
            context.sample_rate, context.layout, context.format = self._rate, self.layout, sample_format
            context.time_base = Fraction(1, self._rate)
            if encoder.subtype is None:
                context.bit_rate = encoder.bit_rate(bit_rate, channels)
            context.open()

        opened(av.CodecContext.create(codec, "w"))  # a trial, as a stream cannot be taken back
        self.stream: Any = output.add_stream(encoder.name, rate=self._rate)
        opened(self.stream.codec_context)
        # Matroska has time stamps of 1 ms. The track begins at the last one before the first sample, with silence.
        matroska = output.format.name in ("matroska", "webm")
        self._grid = Fraction(1, 1000) if matroska else Fraction(1, self._rate)
        self._begin = (
            (start + Fraction(1, 1_000_000) if matroska else start + self._grid / 2) // self._grid * self._grid
        )
        self._silence = max(0, round((start - self._begin) * self._rate))
        self._first = self._position = round(self._begin * self._rate)
        self._channels = channels
        self._delay: int | None = None
        self._delays = bool(codec.capabilities & _DELAYED)

    def encode(self, block: np.ndarray) -> Iterator:
        """Yields packets, with the time in seconds of each."""
        if self._silence:
            block = np.concatenate([np.zeros((self._silence, self._channels), block.dtype), block])
            self._silence = 0
        yield from self._encode(self._resampler.push(block))

    def finish(self) -> Iterator:
        """Yields the last packets."""
        yield from self._encode(self._resampler.flush())
        if not self._delays:
            yield from self._encode(np.zeros((self._delay or 0, self._channels), np.float32))
        yield from self._timed(self.stream.encode(None))

    def _encode(self, block: np.ndarray) -> Iterator:
        import av

        if len(block) == 0:
            return
        samples = _stored(block, self.encoder)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), self.encoder.sample_format, self.layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += len(block)
        yield from self._timed(self.stream.encode(frame))

    def _timed(self, packets) -> Iterator:
        """Gives packets their time stamps. FFmpeg would round the time of the packet and the delay one by one."""
        for packet in packets:
            if self._delay is None:
                self._delay = self._first - packet.pts
            if self._grid != packet.time_base:
                delay = Fraction(self._delay, self._rate)
                time = Fraction(packet.pts - self._first, self._rate) + delay
                ticks = self._begin / self._grid + _round(time / self._grid) - _round(delay / self._grid)
                duration = _round(packet.duration * packet.time_base / self._grid)
                packet.time_base, packet.pts, packet.dts = self._grid, int(ticks), int(ticks)
                packet.duration = duration
            yield float(packet.pts * packet.time_base), packet


def _round(number: Fraction) -> int:
    """Rounds halves up, as FFmpeg does."""
    return (number + Fraction(1, 2)).__floor__()


def _stored(block: np.ndarray, encoder: Encoder) -> np.ndarray:
    """The samples in the encoder's sample format, interleaved."""
    subtype = encoder.subtype or encoder.name
    bits = integer_bits(subtype)
    if bits is None:
        return np.ascontiguousarray(block, np.float32)
    integers = (quantize(block.astype(np.float64), subtype) * 2.0 ** (bits - 1)).astype(np.int32)
    return np.ascontiguousarray(integers.astype(np.int16) if bits == 16 else integers << (32 - bits))


def _supported_rate(codec, sampling_rate: int) -> int:
    """The lowest sampling rate of an encoder that keeps all of the sound, otherwise its highest."""
    rates = codec.audio_rates
    if not rates or sampling_rate in rates:
        return sampling_rate
    return min((rate for rate in rates if rate > sampling_rate), default=max(rates))
