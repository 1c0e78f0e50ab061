"""The sounds of `conditions.py`: one condition each, made of held-out speech and noise at 48 kHz.

Nothing here is shared with the augmentation of the training.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from held_out import LEVEL, RATE, at_level, level_db
from numpy.typing import NDArray
from scipy.signal import fftconvolve, firwin, istft, stft

from dse_hf.audio import resample


PITCH = 1.7  # how much higher the high voice is
EARLY_SECONDS = 0.05  # of a room's response; what comes later blurs speech
TELEPHONE_HZ = (300, 3400)
LIFTER_SECONDS = 0.0015  # a shorter quefrency is the vocal tract's, a longer one is the pitch
VOWELS = {  # frequencies of the formants in Hz (Peterson & Barney 1952, men), with higher ones at equal distances
    "a": (730, 1090, 2440, 3500, 4500),
    "e": (530, 1840, 2480, 3500, 4500),
    "i": (270, 2290, 3010, 3500, 4500),
    "o": (570, 840, 2410, 3500, 4500),
    "u": (300, 870, 2240, 3500, 4500),
}
NOTES_HZ = (110, 147, 196, 262, 330, 392)
VIBRATO_HZ, VIBRATO_DEPTH = 5.5, 0.015


@dataclass
class Sounds:
    """Held-out recordings for one clip of T samples."""

    speech: NDArray  # (1.7 T), full band
    noise: NDArray  # (T)
    talkers: list[NDArray]  # two other stretches of speech, (T) each


@dataclass
class Made:
    """A mixture (T), and what should come out of it, by title; nothing should if there is no reference."""

    mixture: NDArray
    references: dict[str, NDArray] = field(default_factory=dict)

    def scaled(self, gain: float) -> "Made":
        return Made(self.mixture * gain, {title: samples * gain for title, samples in self.references.items()})


# ── Parts ──


def mixed(speech: NDArray, noise: NDArray, snr: float = 10, **references: NDArray) -> Made:
    """Speech with noise that is `snr` dB below it. The reference is the speech, unless others are given."""
    mixture = speech + at_level(noise, level_db(speech) - snr)
    return Made(mixture, {title.replace("_", " "): samples for title, samples in references.items()} or {"": speech})


def room_response(rt60: float, rng: np.random.Generator) -> NDArray:
    """A room of a reverberation time in seconds: the direct sound, and reflections of the same energy.

    The reflections are noise that decays by 60 dB in `rt60`. They start after 2.5 ms. In the first 50 ms they are
    sparse, and their number grows with the square of the time, as it does in a rectangular room.
    """
    time = np.arange(round(1.2 * rt60 * RATE)) / RATE
    density = np.clip((time / EARLY_SECONDS) ** 2, 1e-4, 1)
    echoes = rng.normal(size=len(time)) * (rng.uniform(size=len(time)) < density) / np.sqrt(density)
    echoes *= 10 ** (-3 * time / rt60) * (time >= 0.0025)
    response = echoes / np.sqrt(np.square(echoes).sum())
    response[0] = 1
    return response


def band_passed(samples: NDArray, low: float, high: float) -> NDArray:
    """What lies between two frequencies in Hz, at the same time: a linear-phase filter of 43 ms."""
    return fftconvolve(samples, firwin(2047, (low, high), pass_zero=False, fs=RATE), mode="same")


def higher(speech: NDArray, length: int) -> NDArray:
    """Speech (≥ 1.7 T) played 1.7 times as fast: a child's pitch and formants, `length` samples."""
    return resample(speech[:, None], round(PITCH * RATE), RATE, length)[:, 0]


def whispered(speech: NDArray, rng: np.random.Generator) -> NDArray:
    """Speech without a voice: noise with the smooth spectrum of the speech, from its cepstrum."""
    size, hop = 1024, 256
    options = {"nperseg": size, "noverlap": size - hop}
    spectra = stft(speech, **options)[2]  # (bins, frames)
    logarithms = np.log(np.maximum(np.abs(spectra), 1e-7))
    cepstra = np.fft.irfft(logarithms, axis=0)
    order = round(LIFTER_SECONDS * RATE)
    cepstra[order : size - order + 1] = 0
    envelope = np.exp(np.fft.rfft(cepstra, axis=0).real)
    excitation = stft(rng.normal(size=len(speech)), **options)[2]
    return istft(envelope * excitation / np.sqrt(np.square(np.abs(excitation)).mean()), **options)[1][: len(speech)]


def sung_vowels(length: int, rng: np.random.Generator) -> NDArray:
    """Vowels sung with vibrato, one second each, as sums of partials up to 16 kHz, shaped by formants."""
    parts, size = [], RATE
    time, fade = np.arange(size) / RATE, round(0.05 * RATE)
    for _ in range(-(-length // size)):
        pitch = float(rng.choice(NOTES_HZ))
        formants = VOWELS[str(rng.choice(list(VOWELS)))]
        swing = VIBRATO_DEPTH / (2 * np.pi * VIBRATO_HZ) * (1 - np.cos(2 * np.pi * VIBRATO_HZ * time))
        phase = 2 * np.pi * pitch * (time + swing)
        numbers = np.arange(1, int(16000 / pitch) + 1)
        gains = tract_gain(numbers * pitch, formants) / numbers  # of the glottis and the lips: 6 dB less per octave
        vowel = sum(gain * np.sin(number * phase) for gain, number in zip(gains, numbers))
        vowel[:fade] *= np.linspace(0, 1, fade)
        vowel[-fade:] *= np.linspace(1, 0, fade)
        parts.append(vowel / np.sqrt(np.square(vowel).mean()))
    return np.concatenate(parts)[:length]


def tract_gain(frequencies: NDArray, formants: tuple[float, ...]) -> NDArray:
    """Gain of a vocal tract at frequencies in Hz: a resonance of 80 Hz or more at each formant, from 0.002 up."""
    tract = np.zeros(len(frequencies))
    for number, formant in enumerate(formants):
        width = max(80, 0.05 * formant)
        tract += 2**-number / (1 + ((frequencies - formant) / (width / 2)) ** 2)
    return np.sqrt(tract) + 0.002


# ── The conditions ──


def noisy(sounds: Sounds, rng: np.random.Generator, snr: float = 10) -> Made:
    return mixed(at_level(_speech(sounds), LEVEL), sounds.noise, snr)


def at_peak(sounds: Sounds, rng: np.random.Generator, peak: float) -> Made:
    """The loudest sample of the mixture is at `peak` dBFS."""
    made = noisy(sounds, rng)
    return made.scaled(10 ** (peak / 20) / np.abs(made.mixture).max())


def at_rms(sounds: Sounds, rng: np.random.Generator, level: float) -> Made:
    """The mixture has an RMS level in dBFS."""
    made = noisy(sounds, rng)
    return made.scaled(10 ** ((level - level_db(made.mixture)) / 20))


def in_a_room(sounds: Sounds, rng: np.random.Generator, rt60: float) -> Made:
    response, speech = room_response(rt60, rng), _speech(sounds)
    early = response[: round(EARLY_SECONDS * RATE)]
    whole, start = (fftconvolve(speech, part)[: len(speech)] for part in (response, early))
    gain = 10 ** ((LEVEL - level_db(whole)) / 20)
    return mixed(gain * whole, sounds.noise, reverberant=gain * whole, first_50_ms=gain * start)


def on_the_telephone(sounds: Sounds, rng: np.random.Generator) -> Made:
    """Speech and noise of a call: both are in the band."""
    speech, noise = (band_passed(samples, *TELEPHONE_HZ) for samples in (_speech(sounds), sounds.noise))
    return mixed(at_level(speech, LEVEL), noise)


def in_white_noise(sounds: Sounds, rng: np.random.Generator) -> Made:
    return mixed(at_level(_speech(sounds), LEVEL), rng.normal(size=len(sounds.noise)), 30)


def before_two_talkers(sounds: Sounds, rng: np.random.Generator) -> Made:
    return mixed(at_level(_speech(sounds), LEVEL), sum(at_level(talker, LEVEL) for talker in sounds.talkers), 0)


def high_voice(sounds: Sounds, rng: np.random.Generator) -> Made:
    return mixed(at_level(higher(sounds.speech, len(sounds.noise)), LEVEL), sounds.noise)


def alone(make: Callable[[Sounds, np.random.Generator], NDArray]) -> Callable[[Sounds, np.random.Generator], Made]:
    """The condition in which there is nothing but what `make` gives."""

    def condition(sounds: Sounds, rng: np.random.Generator) -> Made:
        samples = at_level(make(sounds, rng), LEVEL)
        return Made(samples, {"": samples})

    return condition


def noise_alone(sounds: Sounds, rng: np.random.Generator) -> Made:
    return Made(at_level(sounds.noise, LEVEL))


def _speech(sounds: Sounds) -> NDArray:
    return sounds.speech[: len(sounds.noise)]


BASE, CLEAN, NOISE = "undisturbed, 10 dB of noise", "clean speech alone", "noise alone"

CONDITIONS: dict[str, Callable[[Sounds, np.random.Generator], Made]] = {
    BASE: noisy,
    "peak at -45 dBFS": lambda sounds, rng: at_peak(sounds, rng, -45),
    "level of -60 dBFS": lambda sounds, rng: at_rms(sounds, rng, -60),
    "peak at 0 dBFS": lambda sounds, rng: at_peak(sounds, rng, 0),
    "room of 0.3 s": lambda sounds, rng: in_a_room(sounds, rng, 0.3),
    "room of 0.6 s": lambda sounds, rng: in_a_room(sounds, rng, 0.6),
    "room of 0.9 s": lambda sounds, rng: in_a_room(sounds, rng, 0.9),
    "telephone, 300 to 3400 Hz": on_the_telephone,
    "white noise at 30 dB": in_white_noise,
    "two talkers behind at 0 dB": before_two_talkers,
    "noise at -5 dB": lambda sounds, rng: noisy(sounds, rng, -5),
    "high voice": high_voice,
    "high voice alone": alone(lambda sounds, rng: higher(sounds.speech, len(sounds.noise))),
    "whispering alone": alone(lambda sounds, rng: whispered(_speech(sounds), rng)),
    "sung vowels alone": alone(lambda sounds, rng: sung_vowels(len(sounds.noise), rng)),
    CLEAN: alone(lambda sounds, rng: _speech(sounds)),
    NOISE: noise_alone,
}
