"""Noises that are made while training: synthesised, of many voices, and recorded ones turned into others."""

from collections.abc import Callable

import numpy as np

from .augmentation import Reverberation, Waveform, rms


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


class Tones:
    """Engines, sirens, whistles and alarms: up to three harmonic tones whose pitch and level wander, or that beep."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        tones = np.sum([self._tone(length, rng) for _ in range(rng.integers(1, 4))], axis=0)
        return (tones / max(rms(tones), 1e-12)).astype(np.float32)

    def _tone(self, length: int, rng: np.random.Generator) -> Waveform:
        nyquist = self.sampling_rate / 2
        base = np.exp(rng.uniform(np.log(30), np.log(0.4 * nyquist)))
        octaves = rng.choice([0.01, 0.1, 1.0]) * _wander(length, self.sampling_rate, rng, -1, 1)
        frequency = np.minimum(base * 2**octaves, 0.9 * nyquist)
        phase = 2 * np.pi * np.cumsum(frequency) / self.sampling_rate
        tilt = rng.uniform(0.3, 2.5)
        tone = np.zeros(length)
        for harmonic in range(1, min(30, int(nyquist / frequency.max())) + 1):
            level = rng.uniform(0.1, 1) * harmonic**-tilt
            tone += level * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
        tone *= 10 ** (_wander(length, self.sampling_rate, rng, -12, 0) / 20)
        if rng.uniform() < 0.3:  # beeps
            rate = rng.uniform(0.5, 8)
            time = np.arange(length) / self.sampling_rate
            tone *= np.clip(50 * (np.sin(2 * np.pi * (rate * time + rng.uniform())) + rng.uniform(-0.7, 0.7)), 0, 1)
        return tone / max(rms(tone), 1e-12)


class Bursts:
    """Wind, splashes, brakes, applause: noises of random spectra that swell and fade, from 0.02 to 1 s each."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        noise = np.zeros(length)
        for _ in range(rng.integers(1, 4)):  # kinds of sound
            envelope = np.zeros(length)
            rate = np.exp(rng.uniform(np.log(0.5), np.log(30)))
            attack, decay = np.exp(rng.uniform(np.log(0.01), np.log(0.5), 2))
            for start in rng.integers(0, length, rng.poisson(rate * length / self.sampling_rate) + 1):
                time = np.arange(min(length - start, round((attack + 4 * decay) * self.sampling_rate)))
                time = time / self.sampling_rate
                shape = np.minimum(time / attack, np.exp(np.minimum(0, (attack - time) / decay)))
                envelope[start : start + len(time)] += 10 ** (rng.uniform(-20, 0) / 20) * shape
            burst = self._noise(length, rng) * envelope
            noise += burst / max(rms(burst), 1e-12) * 10 ** (rng.uniform(-10, 0) / 20)
        return (noise / max(rms(noise), 1e-12)).astype(np.float32)

    def _noise(self, length: int, rng: np.random.Generator) -> Waveform:
        """Steady 1/f^β noise, β from 0 to 2, whose level moves by up to 40 dB between random frequencies."""
        spectrum = np.fft.rfft(rng.standard_normal(length))
        knots = np.sort(rng.uniform(np.log(50), np.log(self.sampling_rate / 2), rng.integers(2, 9)))
        levels = rng.uniform(-40, 0, len(knots)) * np.log(10) / 20
        frequencies = np.log(np.maximum(np.fft.rfftfreq(length, 1 / self.sampling_rate), 20.0))
        gains = np.exp(np.interp(frequencies, knots, levels) - rng.uniform(0, 1) * frequencies)
        return np.fft.irfft(spectrum * gains, length)


class Impacts:
    """Knocks, clinks, clicks and hooves: damped modes, struck at random or regular times."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        sound = np.zeros(length)
        for _ in range(rng.integers(1, 5)):  # things
            thing = self._thing(rng)
            rate = np.exp(rng.uniform(np.log(0.7), np.log(25)))
            if rng.uniform() < 0.5:
                times = rng.integers(0, length, rng.poisson(rate * length / self.sampling_rate) + 1)
            else:
                times = np.arange(rng.uniform(0, 0.5) * self.sampling_rate, length, self.sampling_rate / rate)
            for start in times.astype(int):
                struck = thing[: length - start] * 10 ** (rng.uniform(-12, 0) / 20)
                sound[start : start + len(struck)] += struck
        return (sound / max(rms(sound), 1e-12)).astype(np.float32)

    def _thing(self, rng: np.random.Generator) -> Waveform:
        """What one stroke sounds like."""
        modes = int(rng.integers(2, 13))
        decays = np.exp(rng.uniform(np.log(0.002), np.log(0.3), modes))[:, None]  # seconds until -8.7 dB
        time = np.arange(round(4 * decays.max() * self.sampling_rate)) / self.sampling_rate
        frequencies = np.exp(rng.uniform(np.log(80), np.log(0.45 * self.sampling_rate), modes))[:, None]
        waves = np.sin(2 * np.pi * (frequencies * time + rng.uniform(size=(modes, 1)))) * np.exp(-time / decays)
        sound = np.sum(rng.uniform(0.1, 1, (modes, 1)) * waves, axis=0)
        sound += rng.uniform(0, 1) * rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.002, 0.05))
        return sound / max(rms(sound), 1e-12)


SYNTHETIC_NOISES = {
    "coloured": ColouredNoise,
    "hum": MainsHum,
    "tones": Tones,
    "bursts": Bursts,
    "impacts": Impacts,
}


class Babble:
    """Voices of equal level, from `low` to `high` of them."""

    def __init__(self, low: int = 3, high: int = 6):
        self.low, self.high = low, high

    def __call__(self, draw_voice: Callable[[], Waveform], rng: np.random.Generator) -> Waveform:
        voices = [draw_voice() for _ in range(rng.integers(self.low, self.high + 1))]
        return np.sum([voice / max(rms(voice), 1e-4) for voice in voices], axis=0)


class Crowd:
    """A hall or a street full of people: every voice of a babble counts for several, at some distance."""

    def __init__(self, sampling_rate: int):
        self.babble = Babble(3, 6)
        self.room = Reverberation(sampling_rate, 0.2, 1.5, (-20.0, 3.0))

    def __call__(self, draw_voice: Callable[[], Waveform], rng: np.random.Generator) -> Waveform:
        def several() -> Waveform:
            voice = draw_voice()
            return np.sum(
                [
                    np.roll(voice[..., :: rng.choice([-1, 1])], rng.integers(voice.shape[-1]), axis=-1)
                    * 10 ** (rng.uniform(-9, 0) / 20)
                    for _ in range(rng.integers(2, 7))
                ],
                axis=0,
            )

        return self.room(self.babble(several, rng).astype(np.float32), rng)


class NoiseVariation:
    """Makes another noise of a recorded one.

    Half of them run backwards. Of a third, grains from anywhere follow each other in place of the original course; one
    in six becomes steady, with the same spectrum but random phases. The level of a third moves, by up to 15 dB. A
    quarter is put into a room.
    """

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate
        self.room = Reverberation(sampling_rate, 0.1, 1.5, (-12.0, 6.0))

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if rng.uniform() < 1 / 2:
            waveform = waveform[..., ::-1]
        share = rng.uniform()
        if share < 1 / 3:
            waveform = self.in_grains(waveform, rng)
        elif share < 1 / 2:
            waveform = self.with_random_phases(waveform, rng)
        if rng.uniform() < 1 / 3:
            waveform = waveform * 10 ** (_wander(waveform.shape[-1], self.sampling_rate, rng, -15, 0) / 20)
        if rng.uniform() < 1 / 4:
            waveform = self.room(waveform, rng)
        return waveform.astype(np.float32)

    def in_grains(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Grains of one length, 0.05 to 0.8 s, that fade into each other at constant power."""
        length = waveform.shape[-1]
        hop = max(1, round(np.exp(rng.uniform(np.log(0.05), np.log(0.8))) * self.sampling_rate / 2))
        if length <= 2 * hop:
            return waveform
        fade = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
        starts = rng.integers(0, length - 2 * hop + 1, length // hop + 2)
        grains = waveform[..., starts[:, None] + np.arange(2 * hop)] * fade  # (…, grains, 2 hop)
        joined = grains[..., 1:, :hop] + grains[..., :-1, hop:]
        return joined.reshape(*waveform.shape[:-1], -1)[..., :length]

    def with_random_phases(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """The same magnitudes at all frequencies; channels get the same turns."""
        spectrum = np.fft.rfft(waveform)
        turns = np.exp(2j * np.pi * rng.uniform(size=spectrum.shape[-1]))
        return np.fft.irfft(spectrum * turns, waveform.shape[-1])


def _wander(length: int, sampling_rate: int, rng: np.random.Generator, low: float, high: float) -> Waveform:
    """Numbers (length,) that move between random values from `low` to `high`, 0.1 to 1 s apart."""
    spacing = rng.uniform(0.1, 1.0) * sampling_rate
    knots = rng.uniform(low, high, int(length / spacing) + 2)
    return np.interp(np.arange(length) / spacing, np.arange(len(knots)), knots)
