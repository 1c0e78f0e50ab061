"""Augmentations of training audio. Each takes a waveform (…, T), float32, and a NumPy generator of random numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import butter, oaconvolve, sosfilt
from scipy.signal.windows import hann


Waveform = NDArray[np.floating]
# How long the kept beginning of a room fades out, in seconds.
KEPT_FADE = 0.05


def rms(waveform: Waveform) -> float:
    """Root mean square of the samples; 0 for an empty waveform."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if waveform.size else 0.0


def gain_for_snr(foreground: Waveform, background: Waveform, snr_db: float) -> float:
    """Returns the factor g for `background` that gives the SNR; 1 if either waveform is silent.

    Energies are sums over the whole waveforms s and n: 10·log10(Σs²/Σ(g·n)²) is exactly `snr_db`.
    """
    foreground_rms, background_rms = rms(foreground), rms(background)
    if foreground_rms == 0 or background_rms == 0:
        return 1.0
    return foreground_rms / background_rms * 10 ** (-snr_db / 20)


def at_level_of(original: Waveform, changed: Waveform) -> Waveform:
    """Scales a changed waveform to the RMS of the original; silence stays silence."""
    level = rms(changed)
    return (changed * (rms(original) / level if level > 0 else 1.0)).astype(np.float32)


class RandomSpeed:
    """Changes speed and pitch by a factor that is drawn log-uniformly from `low` to `high`."""

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        factor = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        length = waveform.shape[-1]
        positions = np.arange(0, length - 1, factor) if length > 1 else np.zeros(1)
        times = np.arange(length)
        rows = [np.interp(positions, times, row) for row in waveform.reshape(-1, length)]
        return np.reshape(rows, (*waveform.shape[:-1], len(positions))).astype(np.float32)


class RandomEqualizer:
    """A chain of `bands` peaking filters with random centre, width and gain up to ±`max_gain_db`.

    The filters are the peaking equaliser of the Audio EQ Cookbook (Bristow-Johnson).
    """

    def __init__(self, sampling_rate: int, bands: int = 3, max_gain_db: float = 9.0):
        self.sampling_rate, self.bands, self.max_gain_db = sampling_rate, bands, max_gain_db

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        sections = [self._section(rng) for _ in range(self.bands)]
        return sosfilt(np.array(sections), waveform).astype(np.float32)

    def _section(self, rng: np.random.Generator) -> list[float]:
        frequency = np.exp(rng.uniform(np.log(60), np.log(0.45 * self.sampling_rate)))
        amplitude = 10 ** (rng.uniform(-self.max_gain_db, self.max_gain_db) / 40)
        omega = 2 * np.pi * frequency / self.sampling_rate
        alpha = np.sin(omega) / (2 * rng.uniform(0.4, 1.5))
        first = 1 + alpha / amplitude
        feed_forward = [1 + alpha * amplitude, -2 * np.cos(omega), 1 - alpha * amplitude]
        feedback = [first, -2 * np.cos(omega), 1 - alpha / amplitude]
        return [value / first for value in feed_forward + feedback]


class SpectralFrames:
    """Frames of 32 ms, 8 ms apart, with their spectral envelope: the low quefrencies of the cepstrum."""

    def __init__(self, sampling_rate: int):
        self.size = 4 * round(0.008 * sampling_rate)
        self.hop = self.size // 4
        self.window = hann(self.size, sym=False).astype(np.float32)
        self.quefrencies = round(0.0015 * sampling_rate)  # Shorter than the period of a high voice.

    def spectrum(self, waveform: Waveform) -> np.ndarray:
        """(…, T) → (…, frames, F). Three frames reach over each end, so that four frames cover each sample."""
        edge = self.size - self.hop
        edges = [(0, 0)] * (waveform.ndim - 1) + [(edge, edge + -waveform.shape[-1] % self.hop)]
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, edges), self.size, axis=-1)
        return rfft(frames[..., :: self.hop, :] * self.window)

    def waveform(self, spectrum: np.ndarray, length: int) -> Waveform:
        """(…, frames, F) → (…, length)."""
        # Squares of four Hann windows, a quarter of their length apart, sum to 1.5.
        frames = irfft(spectrum) * (self.window / 1.5)
        quarters = frames.reshape(*frames.shape[:-1], 4, self.hop)
        blocks: Any = sum(quarters[..., 3 - shift : quarters.shape[-3] - shift, shift, :] for shift in range(4))
        return blocks.reshape(*blocks.shape[:-2], -1)[..., :length]

    def log_envelope(self, power: Waveform) -> Waveform:
        """Power (…, frames, F) → logarithm of the smoothed amplitude, (…, frames, F)."""
        floor = 1e-6 * power.max(axis=-1, keepdims=True) + 1e-12
        cepstrum = irfft(np.log(power + floor) / 2)
        cepstrum[..., self.quefrencies + 1 : -self.quefrencies] = 0
        return rfft(cepstrum).real


class RandomFormants(SpectralFrames):
    """Makes another voice: moves the formants by a factor that is drawn log-uniformly from 1/`most` to `most`.

    The spectral envelope of every 32 ms (the low quefrencies of the cepstrum, as in Oppenheim and Schafer) is
    stretched along the frequency axis. Pitch, phases and level stay the same. `RandomSpeed` moves pitch and formants
    together, so both augmentations together vary them independently.
    """

    def __init__(self, sampling_rate: int, most: float = 1.2):
        self.most = most
        super().__init__(sampling_rate)

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        factor = np.exp(rng.uniform(-1, 1) * np.log(self.most))
        if waveform.shape[-1] < self.size:
            return waveform
        spectrum = self.spectrum(waveform)  # (…, frames, F)
        envelope = self.log_envelope(np.mean(np.abs(spectrum) ** 2, axis=tuple(range(spectrum.ndim - 2))))
        bins = np.arange(envelope.shape[-1])
        stretched = np.clip(bins / factor, 0, len(bins) - 1)
        below = np.minimum(stretched.astype(int), len(bins) - 2)
        between = (stretched - below).astype(np.float32)
        moved = (1 - between) * envelope[:, below] + between * envelope[:, below + 1]
        voice = self.waveform(spectrum * np.exp(np.clip(moved - envelope, -3, 3)), waveform.shape[-1])
        return at_level_of(waveform, voice)


class RandomGain:
    """Changes the level by up to ±`max_gain_db`."""

    def __init__(self, max_gain_db: float):
        self.max_gain_db = max_gain_db

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        return waveform * np.float32(10 ** (rng.uniform(-self.max_gain_db, self.max_gain_db) / 20))


class Reverberation:
    """A room: the direct sound, followed by exponentially decaying noise.

    The response is statistical (Polack's model). It lacks the exact early reflections that image sources give, but
    those are different in every room, and it takes a hundredth of the time. The direct sound keeps its place, and the
    level stays the same. Each channel gets its own response with the same decay. Several sounds (…, C, T) get the
    same responses. The reverberation time (until the response has fallen by 60 dB) is from `low` to `high` seconds.
    `distance_db` is the range of the energy of the direct sound relative to the reverberation. With `reflections`, so
    many discrete reflections of the first 50 ms take up half of the energy of the reverberation.
    """

    def __init__(
        self, sampling_rate: int, low: float = 0.1, high: float = 0.8, distance_db=(-3.0, 12.0), reflections: int = 0
    ):
        self.sampling_rate, self.low, self.high, self.distance_db = sampling_rate, low, high, distance_db
        self.reflections = reflections

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        response = self.response(waveform.shape[-2:-1], rng)
        response = response.reshape((1,) * (waveform.ndim - response.ndim) + response.shape)
        return at_level_of(waveform, oaconvolve(waveform, response, axes=-1)[..., : waveform.shape[-1]])

    def with_kept_part(self, waveforms: Waveform, kept: float, rng: np.random.Generator) -> Waveform:
        """Returns the first of two waveforms (2, C, T) in the room, and the second with only its beginning.

        The beginning is the direct sound and the reflections of the first `kept` seconds. Over the next 50 ms it fades
        out, as a cosine. Both have the same gain; the first one keeps its level.
        """
        response = self.response(waveforms.shape[-2:-1], rng)
        start, fade = round(kept * self.sampling_rate) + 1, round(KEPT_FADE * self.sampling_rate)
        beginning = response[..., : start + fade].copy()
        shape = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
        beginning[..., start:] *= shape[: max(beginning.shape[-1] - start, 0)]
        length = waveforms.shape[-1]
        whole = oaconvolve(waveforms[0], response, axes=-1)[..., :length]
        part = oaconvolve(waveforms[1], beginning, axes=-1)[..., :length]
        level = rms(whole)
        return (np.stack([whole, part]) * (rms(waveforms[0]) / level if level > 0 else 1.0)).astype(np.float32)

    def response(self, channels: tuple[int, ...], rng: np.random.Generator) -> Waveform:
        """Draws an impulse response (*channels, T). Its first sample is the direct sound."""
        decay_time = rng.uniform(self.low, self.high)
        direct_db = rng.uniform(*self.distance_db)
        time = np.arange(round(decay_time * self.sampling_rate) + 1) / self.sampling_rate
        tail = rng.standard_normal((*channels, len(time)), np.float32)
        tail *= 10 ** (-3 * time / decay_time)  # -60 dB at decay_time
        tail[..., : max(1, round(0.002 * self.sampling_rate))] = 0  # Reflections arrive after the direct sound.
        if self.reflections > 0:
            self._add_reflections(tail, decay_time, rng)
        energy = np.square(tail).sum(axis=-1, keepdims=True)
        tail *= np.sqrt(10 ** (-direct_db / 10) / np.maximum(energy, 1e-12))
        tail[..., 0] = 1
        return tail.astype(np.float32)

    def _add_reflections(self, tail: Waveform, decay_time: float, rng: np.random.Generator) -> None:
        """Adds reflections, 2 to 50 ms after the direct sound, with as much energy as `tail` (…, T) has."""
        times = rng.uniform(0.002, 0.05, self.reflections)
        # Sound gets weaker on longer ways, and where it is reflected. Each channel hears its own small differences.
        levels = rng.choice([-1.0, 1.0], self.reflections) * 0.004 / (0.004 + times) * 10 ** (-3 * times / decay_time)
        levels = levels * rng.uniform(0.5, 1, (*tail.shape[:-1], self.reflections))
        energy, own = (np.square(part).sum(axis=-1, keepdims=True) for part in (tail, levels))
        levels *= np.sqrt(energy / np.maximum(own, 1e-12))
        positions = np.minimum((times * self.sampling_rate).astype(int), tail.shape[-1] - 1)
        for position, level in zip(positions, np.moveaxis(levels, -1, 0)):
            tail[..., position] += level


class BandLimit:
    """A low-pass filter of random order. Its cutoff is drawn log-uniformly from `low` Hz to the highest frequency."""

    def __init__(self, sampling_rate: int, low: float = 1500.0):
        self.sampling_rate, self.low = sampling_rate, low

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        high = 0.49 * self.sampling_rate
        cutoff = np.exp(rng.uniform(np.log(min(self.low, high)), np.log(high)))
        sections = butter(int(rng.integers(2, 9)), cutoff, fs=self.sampling_rate, output="sos")
        return sosfilt(sections, waveform).astype(np.float32)


class Clipping:
    """Clips the waveform at a level that is drawn up to `max_db` below its peak."""

    def __init__(self, max_db: float = 15.0):
        self.max_db = max_db

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        peak = float(np.abs(waveform).max()) if waveform.size else 0.0
        ceiling = np.float32(peak * 10 ** (-rng.uniform(0, self.max_db) / 20))
        return np.clip(waveform, -ceiling, ceiling)


def remix(windows: Sequence[Waveform]) -> Waveform:
    """Takes source k from window k: K windows (K, C, T) → one window (K, C, T)."""
    return np.stack([window[index] for index, window in enumerate(windows)])
