"""Augmentations of training audio. Each is called with a waveform (T,) float32 and a `numpy` generator."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt


Waveform = NDArray[np.float32]


def rms(waveform: Waveform) -> float:
    """Root mean square of the samples; 0 for an empty waveform."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if waveform.size else 0.0


def gain_for_snr(foreground: Waveform, background: Waveform, snr_db: float) -> float:
    """Factor for `background` that puts `foreground` `snr_db` above it; 1 where either is silent.

    Energies are taken over the whole of both waveforms: 10·log10(Σs²/Σ(g·n)²) is `snr_db` exactly.
    """
    foreground_rms, background_rms = rms(foreground), rms(background)
    if foreground_rms == 0 or background_rms == 0:
        return 1.0
    return foreground_rms / background_rms * 10 ** (-snr_db / 20)


class RandomSpeed:
    """Plays faster or slower (and higher or lower) by a factor drawn log-uniformly from `low` to `high`."""

    def __init__(self, low: float, high: float):
        self.low, self.high = low, high

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        factor = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        positions = np.arange(0, len(waveform) - 1, factor) if len(waveform) > 1 else np.zeros(1)
        return np.interp(positions, np.arange(len(waveform)), waveform).astype(np.float32)


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


class ColouredNoise:
    """Noise with a power spectrum of 1/f^β, β from 0 (white) to 2 (brown), its level slowly modulated."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequencies = np.maximum(np.fft.rfftfreq(length, 1 / self.sampling_rate), 20.0)
        noise = np.fft.irfft(spectrum * frequencies ** (-rng.uniform(0, 2) / 2), length)
        depth, rate = rng.uniform(0, 0.9), rng.uniform(0.2, 8)
        time = np.arange(length) / self.sampling_rate
        noise *= 1 + depth * np.sin(2 * np.pi * (rate * time + rng.uniform()))
        return (noise / max(rms(noise), 1e-12)).astype(np.float32)


class MainsHum:
    """50 or 60 Hz with up to 20 harmonics of falling level and random phase."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        time = np.arange(length) / self.sampling_rate
        frequency = rng.choice([50.0, 60.0]) * rng.uniform(0.995, 1.005)
        hum = np.zeros(length)
        for harmonic in range(1, int(rng.integers(2, 21))):
            if harmonic * frequency < self.sampling_rate / 2:
                level = rng.uniform(0.1, 1) / harmonic
                hum += level * np.sin(2 * np.pi * (harmonic * frequency * time + rng.uniform()))
        return (hum / max(rms(hum), 1e-12)).astype(np.float32)
