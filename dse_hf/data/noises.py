"""Noises that are made during training: synthetic noises, noises of many voices, and variations of recorded noises."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .augmentation import Reverberation, Waveform, rms


def at_unit_level(noise: NDArray) -> NDArray:
    """Scales a noise to an RMS of 1; silence stays silence."""
    return noise / max(rms(noise), 1e-12)


class SyntheticNoise:
    """A noise of unit level. A subclass makes a noise (length,) of any level in `make`."""

    def __init__(self, sampling_rate: int):
        self.sampling_rate = sampling_rate

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        return at_unit_level(self.make(length, rng)).astype(np.float32)

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        raise NotImplementedError


class ColouredNoise(SyntheticNoise):
    """Noise with a power spectrum of 1/f^β, β from 0 (white) to 2 (brown), and a slowly modulated level."""

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequencies = np.maximum(np.fft.rfftfreq(length, 1 / self.sampling_rate), 20.0)
        noise = np.fft.irfft(spectrum * frequencies ** (-rng.uniform(0, 2) / 2), length)
        depth, rate = rng.uniform(0, 0.9), rng.uniform(0.2, 8)
        time = np.arange(length) / self.sampling_rate
        noise *= 1 + depth * np.sin(2 * np.pi * (rate * time + rng.uniform()))
        return noise


class MainsHum(SyntheticNoise):
    """A hum of 50 or 60 Hz with up to 20 harmonics of falling level and random phase."""

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        time = np.arange(length) / self.sampling_rate
        frequency = rng.choice([50.0, 60.0]) * rng.uniform(0.995, 1.005)
        hum = np.zeros(length)
        for harmonic in range(1, int(rng.integers(2, 21))):
            if harmonic * frequency < self.sampling_rate / 2:
                level = rng.uniform(0.1, 1) / harmonic
                hum += level * np.sin(2 * np.pi * (harmonic * frequency * time + rng.uniform()))
        return hum


class Tones(SyntheticNoise):
    """Sounds like engines and alarms: up to three harmonic tones that beep, or whose pitch and level wander."""

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return np.sum([self._tone(length, rng) for _ in range(rng.integers(1, 4))], axis=0)

    def _tone(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
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
        return at_unit_level(tone)


class Bursts(SyntheticNoise):
    """Sounds like wind, splashes and applause: noises of random spectra that swell and fade in 0.02 to 1 s."""

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
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
            noise += at_unit_level(burst) * 10 ** (rng.uniform(-10, 0) / 20)
        return noise

    def _noise(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Steady 1/f^β noise, β from 0 to 2, whose spectrum varies by up to 40 dB between random frequencies."""
        spectrum = np.fft.rfft(rng.standard_normal(length))
        knots = np.sort(rng.uniform(np.log(50), np.log(self.sampling_rate / 2), rng.integers(2, 9)))
        levels = rng.uniform(-40, 0, len(knots)) * np.log(10) / 20
        frequencies = np.log(np.maximum(np.fft.rfftfreq(length, 1 / self.sampling_rate), 20.0))
        gains = np.exp(np.interp(frequencies, knots, levels) - rng.uniform(0, 1) * frequencies)
        return np.fft.irfft(spectrum * gains, length)


class Impacts(SyntheticNoise):
    """Sounds like knocks, clinks and hooves: damped resonances that are struck at random or regular times."""

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
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
        return sound

    def _thing(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """The sound of one stroke, (T,)."""
        modes = int(rng.integers(2, 13))
        decays = np.exp(rng.uniform(np.log(0.002), np.log(0.3), modes))[:, None]  # seconds until -8.7 dB
        time = np.arange(round(4 * decays.max() * self.sampling_rate)) / self.sampling_rate
        frequencies = np.exp(rng.uniform(np.log(80), np.log(0.45 * self.sampling_rate), modes))[:, None]
        waves = np.sin(2 * np.pi * (frequencies * time + rng.uniform(size=(modes, 1)))) * np.exp(-time / decays)
        sound = np.sum(rng.uniform(0.1, 1, (modes, 1)) * waves, axis=0)
        sound += rng.uniform(0, 1) * rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.002, 0.05))
        return at_unit_level(sound)


class Wind(SyntheticNoise):
    """Wind in a microphone: a rumble that falls with 1/f² above 20 to 80 Hz, and faster above 500 Hz, in gusts.

    Strong gusts overload the microphone and are clipped.
    """

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        frequencies = np.fft.rfftfreq(length, 1 / self.sampling_rate)
        corner = rng.uniform(20, 80)
        gains = 1 / (1 + np.square(frequencies / corner)) ** 0.5  # amplitude: 1/f² is the power
        gains /= 1 + np.square(frequencies / 500)
        rumble = at_unit_level(np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * gains, length))
        gusts = sum(_wander(length, self.sampling_rate, rng, -rng.uniform(6, 15), 0) for _ in range(2))
        wind = at_unit_level(rumble * 10 ** (gusts / 20))
        ceiling = rng.uniform(1.2, 4)
        return np.clip(wind, -ceiling, ceiling)


class Clicks(SyntheticNoise):
    """Clicks of keyboards and of mouths: damped resonances of 1 to 10 ms, 2 to 12 in a second, at irregular times.

    A key clicks twice, when it is pressed and, more softly, when it is released.
    """

    def make(self, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
        sound = np.zeros(length)
        keyboard = rng.uniform() < 0.5
        low, high = (1000, 8000) if keyboard else (700, 4000)
        centres = np.exp(rng.uniform(np.log(low), np.log(min(high, 0.4 * self.sampling_rate)), 4))
        gap = self.sampling_rate / np.exp(rng.uniform(np.log(2), np.log(12)))
        start = rng.uniform(0, 1) * min(gap, length)
        while start < length:
            level = 10 ** (rng.uniform(-15, 0) / 20)
            self._add(sound, int(start), level, centres, rng)
            if keyboard:
                release = int(start + rng.uniform(0.05, 0.12) * self.sampling_rate)
                self._add(sound, release, level * rng.uniform(0.2, 0.7), centres, rng)
            start += gap * rng.gamma(2, 0.5)
        return sound

    def _add(self, sound: NDArray, start: int, level: float, centres: NDArray, rng: np.random.Generator) -> None:
        """Adds a click to a sound (T,), if it begins within the sound."""
        time = np.arange(max(0, min(len(sound) - start, round(0.03 * self.sampling_rate)))) / self.sampling_rate
        decays = np.exp(rng.uniform(np.log(0.001), np.log(0.01), (len(centres), 1)))  # seconds until -8.7 dB
        frequencies = (centres * rng.uniform(0.9, 1.1, len(centres)))[:, None]
        waves = np.exp(-time / decays) * np.sin(2 * np.pi * (frequencies * time + rng.uniform(size=decays.shape)))
        sound[start : start + len(time)] += level * (rng.uniform(0.2, 1, decays.shape) * waves).sum(axis=0)


SYNTHETIC_NOISES = {
    "coloured": ColouredNoise,
    "hum": MainsHum,
    "tones": Tones,
    "bursts": Bursts,
    "impacts": Impacts,
    "wind": Wind,
    "clicks": Clicks,
}


class Babble:
    """From `low` to `high` voices of equal level at once."""

    def __init__(self, low: int = 3, high: int = 6):
        self.low, self.high = low, high

    def __call__(self, draw_voice: Callable[[], Waveform], rng: np.random.Generator) -> Waveform:
        voices = [draw_voice() for _ in range(rng.integers(self.low, self.high + 1))]
        return np.sum([voice / max(rms(voice), 1e-4) for voice in voices], axis=0)


class Crowd:
    """A hall or a street full of people: each voice of a babble is used several times, at some distance."""

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
    """Turns a recorded noise into another one.

    Half of the noises run backwards. A third are cut into grains, which follow each other in random order. A sixth
    become steady, with the same spectrum but random phases. A third change their level by up to 15 dB. A quarter are
    put into a room.
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
        """Grains of one length, from 0.05 to 0.8 s, that fade into each other at constant power."""
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
        """Keeps the magnitudes of all frequencies, and turns the phases of all channels alike."""
        spectrum = np.fft.rfft(waveform)
        turns = np.exp(2j * np.pi * rng.uniform(size=spectrum.shape[-1]))
        return np.fft.irfft(spectrum * turns, waveform.shape[-1])


def _wander(length: int, sampling_rate: int, rng: np.random.Generator, low: float, high: float) -> Waveform:
    """Numbers (length,) that move between random values from `low` to `high`. The values are 0.1 to 1 s apart."""
    spacing = rng.uniform(0.1, 1.0) * sampling_rate
    knots = rng.uniform(low, high, int(length / spacing) + 2)
    return np.interp(np.arange(length) / spacing, np.arange(len(knots)), knots)
