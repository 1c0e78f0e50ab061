"""How recordings differ from sound in the air: their bandwidth, telephones and codecs."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, firwin, oaconvolve, sosfilt

from ..audio import resample
from .augmentation import Waveform, rms


# Share of the highest frequency from which a bandwidth counts as full.
FULL_BANDWIDTH = 0.9
# Width of the transition band of `limit_bandwidth`, in Hz, and its attenuation in dB.
TRANSITION, ATTENUATION = 500.0, 75.0


def limit_bandwidth(waveforms: Waveform, bandwidth: float, sampling_rate: int) -> Waveform:
    """Removes what is above `bandwidth` (Hz) from waveforms (…, T), without a delay.

    The filter is a linear-phase low-pass with a Kaiser window. Its transition band ends at `bandwidth`. From 0.9 of
    the highest frequency on, waveforms stay as they are.
    """
    if bandwidth >= FULL_BANDWIDTH * sampling_rate / 2:
        return waveforms
    width = min(TRANSITION, bandwidth / 2)
    # Kaiser's formulas for the length and the shape of the window.
    taps = 2 * round((ATTENUATION - 7.95) / (2.285 * 2 * np.pi * width / sampling_rate) / 2) + 1
    window = ("kaiser", 0.1102 * (ATTENUATION - 8.7))
    response = firwin(taps, bandwidth - width / 2, window=window, fs=sampling_rate).astype(np.float32)
    response = response.reshape((1,) * (waveforms.ndim - 1) + (-1,))
    return oaconvolve(waveforms, response, mode="same", axes=-1)[..., : waveforms.shape[-1]].astype(np.float32)


class Telephone:
    """A telephone: a band-pass filter from 200 to 400 Hz up to 3 to 3.8 kHz, the same for all sources (K, …, T).

    Half of the time, the line adds white noise over the whole band to the last source, 30 to 60 dB below all sources.
    """

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, sources: Waveform, rng: np.random.Generator) -> Waveform:
        nyquist = self.sampling_rate / 2
        band = [rng.uniform(200, 400), min(rng.uniform(3000, 3800), 0.95 * nyquist)]
        sections = butter(int(rng.integers(3, 7)), band, "bandpass", fs=self.sampling_rate, output="sos")
        filtered = sosfilt(sections, sources).astype(np.float32)
        if rng.uniform() < 0.5:
            level = rms(filtered.sum(axis=0)) * 10 ** (rng.uniform(-60, -30) / 20)
            filtered[-1] += np.float32(level) * rng.standard_normal(filtered.shape[1:], np.float32)
        return filtered


class CodecKind(NamedTuple):
    """A codec of FFmpeg: names of its encoder and decoder, the sampling rate, sample format and range of kbit/s."""

    encoder: str
    decoder: str
    rate: int
    format: str
    low: float
    high: float


CODECS = (
    CodecKind("libmp3lame", "mp3float", 48000, "fltp", 16, 64),
    CodecKind("libopus", "libopus", 48000, "flt", 6, 32),
    CodecKind("libopencore_amrnb", "amrnb", 8000, "s16", 4.75, 12.2),
    CodecKind("g722", "g722", 16000, "s16", 64, 64),
)
# Encoder → the compression level that takes the least time.
FASTEST = {"libmp3lame": "9", "libopus": "0"}


class Codec:
    """Codes speech by MP3, Opus, AMR or G.722 at a low bit rate and decodes it again.

    The delay of the codec is found by cross-correlation and removed. Each channel is coded alone. Codecs that PyAV
    lacks are left out; without any of them, waveforms stay as they are.
    """

    PADDING = 0.15  # seconds after the end, more than the delay of any codec

    def __init__(self, sampling_rate: int, kinds: Sequence[CodecKind] = CODECS):
        self.sampling_rate = sampling_rate
        self.kinds = [kind for kind in kinds if _has_codec(kind)]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if not self.kinds or not waveform.any():
            return waveform
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        rates = [4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200] if kind.decoder == "amrnb" else None
        wanted = 1000 * np.exp(rng.uniform(np.log(kind.low), np.log(kind.high)))
        bit_rate = int(wanted) if rates is None else min(rates, key=lambda rate: abs(rate - wanted))
        if kind.decoder == "mp3float":
            bit_rate = 1000 * min((32, 40, 48, 56, 64), key=lambda rate: abs(rate - wanted / 1000))
        rows = [self._code(row, kind, bit_rate) for row in waveform.reshape(-1, waveform.shape[-1])]
        return np.reshape(rows, waveform.shape).astype(np.float32)

    def _code(self, samples: Waveform, kind: CodecKind, bit_rate: int) -> Waveform:
        """Codes samples (T,) as (T,)."""
        gain = 0.5 / max(float(np.abs(samples).max()), 1e-9)  # Codecs lose what is very soft.
        padded = np.pad(samples * np.float32(gain), (0, round(self.PADDING * self.sampling_rate)))
        given = resample(padded[:, None], self.sampling_rate, kind.rate)[:, 0]
        decoded = transcode(given, kind, bit_rate)
        decoded = resample(decoded[:, None], kind.rate, self.sampling_rate)[:, 0]
        size = next_fast_len(len(padded) + len(decoded), real=True)
        correlation = irfft(rfft(decoded, size) * np.conj(rfft(padded, size)), size)
        delay = int(np.argmax(correlation[: round(self.PADDING * self.sampling_rate)]))
        decoded = decoded[delay : delay + len(samples)] / gain
        return np.pad(decoded, (0, len(samples) - len(decoded)))


def transcode(samples: Waveform, kind: CodecKind, bit_rate: int) -> Waveform:
    """Codes and decodes samples (T,) in memory. The result has the delay of the codec, and silence may follow it."""
    import av  # slow to import

    given: Any = (np.clip(samples, -1, 1) * 32767).astype(np.int16) if kind.format == "s16" else samples
    encoder: Any = av.CodecContext.create(kind.encoder, "w")  # of a subclass for audio
    encoder.sample_rate, encoder.layout, encoder.format = kind.rate, "mono", kind.format
    encoder.bit_rate, encoder.time_base = bit_rate, Fraction(1, kind.rate)
    if kind.encoder in FASTEST:
        encoder.options = {"compression_level": FASTEST[kind.encoder]}
    encoder.open()
    size = encoder.frame_size or 320
    given = np.pad(given, (0, -len(given) % size))
    packets = []
    for start in range(0, len(given), size):
        frame = av.AudioFrame.from_ndarray(given[None, start : start + size], kind.format, "mono")
        frame.sample_rate, frame.pts = kind.rate, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder: Any = av.CodecContext.create(kind.decoder, "r")
    decoder.extradata = encoder.extradata
    decoder.sample_rate, decoder.layout = kind.rate, "mono"
    blocks = [frame.to_ndarray() for packet in packets for frame in decoder.decode(packet)]
    decoded = np.concatenate(blocks, axis=1)[0]
    return decoded.astype(np.float32) / 32768 if decoded.dtype == np.int16 else decoded.astype(np.float32)


def _has_codec(kind: CodecKind) -> bool:
    import av

    try:
        av.Codec(kind.encoder, "w")
        av.Codec(kind.decoder, "r")
    except ValueError:  # UnknownCodecError
        return False
    return True
