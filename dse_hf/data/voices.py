"""Other ways to use a voice, made of read speech: whispering, singing, and high and low voices."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from .arguments import DataArguments
from .augmentation import RandomSpeed, SpectralFrames, Waveform, at_level_of
from .recordings import Codec


class Voices:
    """The effects of the arguments on a voice. An effect that is off draws no random numbers."""

    def __init__(self, sampling_rate: int, arguments: DataArguments):
        on = float(arguments.augment)
        self.pitch_share = on * arguments.voice_pitch_share
        self.pitch_low, self.pitch_high = arguments.voice_pitch_low, arguments.voice_pitch_high
        self.shares = on * arguments.whisper_share, on * arguments.singing_share
        self.codec_share = on * arguments.codec_share
        self.codec = Codec(sampling_rate) if self.codec_share > 0 else None
        self.whisper, self.singing = Whisper(sampling_rate), Singing(sampling_rate)

    def speed(self, usual: RandomSpeed | None, rng: np.random.Generator) -> RandomSpeed | None:
        """Returns the change of speed for the clips of an example: the usual one, or that of a high or low voice."""
        if self.pitch_share > 0 and rng.uniform() < self.pitch_share:
            # All clips of an example are of one speaker and change alike.
            factor = float(np.exp(rng.uniform(np.log(self.pitch_low), np.log(self.pitch_high))))
            return ExactSpeed(factor, factor)
        return usual

    def __call__(self, voice: Waveform, rng: np.random.Generator) -> Waveform:
        """Changes a voice, (C, T), or a recording and its cleaned version, (2, C, T).

        Whispering and singing are made of the cleaned version alone, and are (C, T).
        """
        whisper_share, singing_share = self.shares
        if whisper_share + singing_share > 0:
            draw = rng.uniform()
            speech = voice[1] if voice.ndim == 3 else voice
            if draw < whisper_share:
                return self.whisper(speech, rng)
            if draw < whisper_share + singing_share:
                return self.singing(speech, rng)
        return voice

    def coded(self, voice: Waveform, rng: np.random.Generator) -> Waveform:
        """Codes a voice, (C, T), or the cleaned version in (2, C, T), with what was removed from it as it was."""
        if self.codec is None or rng.uniform() >= self.codec_share:
            return voice
        if voice.ndim < 3:
            return self.codec(voice, rng)
        coded = self.codec(voice[1], rng)
        return np.stack([voice[0] - voice[1] + coded, coded])


class ExactSpeed(RandomSpeed):
    """As `RandomSpeed`, without aliasing and without loss of high frequencies, for large changes of the speed.

    The spectrum of the whole clip is cut off or padded. The factor is rounded by less than 1 %, so that transforms
    have fast lengths.
    """

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        factor = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
        length = waveform.shape[-1]
        before = next_fast_len(length + 64, real=True)
        after = next_fast_len(max(round(before / factor), 1), real=True)
        spectrum = rfft(waveform.astype(np.float32, copy=False), before)[..., : after // 2 + 1]
        changed = irfft(spectrum, after) * np.float32(after / before)
        return changed[..., : max(round(length * after / before), 1)].astype(np.float32)


class Whisper(SpectralFrames):
    """Turns speech into whispering: noise with the spectral envelope of the speech, at the same level.

    The vocal folds do not vibrate, so voiced sounds have no harmonics, and their spectrum falls less: from 200 Hz to
    4 kHz by 2 to 5 dB less per octave.
    """

    def __init__(self, sampling_rate: int):
        super().__init__(sampling_rate)
        frequencies = np.fft.rfftfreq(self.size, 1 / sampling_rate)
        self.octaves = np.log2(np.clip(frequencies, 200, 4000) / 200).astype(np.float32)
        self.low = int(np.searchsorted(frequencies, 1000))

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if waveform.shape[-1] < self.size:
            return waveform
        slope = np.float32(rng.uniform(2, 5) * np.log(10) / 20)
        power = np.square(np.abs(self.spectrum(waveform)))
        tilt = slope * self.octaves * voicing(power, self.low)
        gains = np.exp(self.log_envelope(power) + tilt)
        noise = self.spectrum(rng.standard_normal(waveform.shape[-1], np.float32))
        return at_level_of(waveform, self.waveform(noise * gains, waveform.shape[-1]))


class Singing(SpectralFrames):
    """Turns speech into singing: held notes with the spectral envelope of the speech, 1.5 to 4 times slower.

    The notes last 0.25 to 1.2 s. They are semitones around 100 to 400 Hz, with glides in between and a vibrato of 4 to
    7 Hz. Unvoiced sounds, and in part what is above 5 kHz, are noise. The result is as long as the speech and has its
    level. It is made of the loudest part of the speech.
    """

    def __init__(self, sampling_rate: int):
        super().__init__(sampling_rate)
        self.sampling_rate = sampling_rate
        frequencies = np.fft.rfftfreq(self.size, 1 / sampling_rate)
        self.noise_share = np.clip((frequencies - 4500) / 5000, 0, 0.8).astype(np.float32)
        self.low = int(np.searchsorted(frequencies, 1000))

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        length = waveform.shape[-1]
        if length < self.size:
            return waveform
        slowness = rng.uniform(1.5, 4)
        power = np.square(np.abs(self.spectrum(waveform)))
        frames = power.shape[-2]
        used = int(np.ceil(frames / slowness))
        energy = np.cumsum(power.sum(axis=(*range(power.ndim - 2), -1), dtype=np.float64))
        start = int(np.argmax(energy[used - 1 :] - np.concatenate([[0.0], energy[: frames - used]])))
        power = power[..., start : start + used, :]
        position = np.minimum(np.arange(frames) / slowness, used - 1)
        below = position.astype(int)
        above, share = np.minimum(below + 1, used - 1), (position - below).astype(np.float32)[:, None]
        envelope, voiced = self.log_envelope(power), voicing(power, self.low)
        envelope = (1 - share) * envelope[..., below, :] + share * envelope[..., above, :]
        voiced = (1 - share) * voiced[..., below, :] + share * voiced[..., above, :]
        noise_share = np.maximum(self.noise_share, 1 - voiced)
        notes = self.spectrum(pulses(self.pitch(length, rng) / self.sampling_rate))
        noise = self.spectrum(rng.standard_normal(length, np.float32))
        excitation = notes * np.sqrt(1 - noise_share) + noise * np.sqrt(noise_share)
        return at_level_of(waveform, self.waveform(excitation * np.exp(envelope), length))

    def pitch(self, length: int, rng: np.random.Generator) -> Waveform:
        """Draws the fundamental frequency of held notes in Hz, (length,)."""
        step = 0.002  # seconds between the points that are computed
        points = int(length / self.sampling_rate / step) + 2
        lengths = rng.uniform(0.25, 1.2, int(points * step / 0.25) + 1) / step
        numbers = np.searchsorted(np.cumsum(lengths), np.arange(points))
        notes = 12 * np.log2(rng.uniform(110, 370) / 100) + rng.integers(-4, 5, len(lengths) + 1)
        glide = 2 * round(rng.uniform(0.015, 0.06) / step) + 1
        semitones = np.convolve(np.pad(notes[numbers], glide // 2, mode="edge"), np.ones(glide) / glide, "valid")
        rate, depth = rng.uniform(4, 7), rng.uniform(0.15, 0.7)
        semitones += depth * np.sin(2 * np.pi * (rate * step * np.arange(points) + rng.uniform()))
        return 100 * 2 ** (np.interp(np.arange(length) / self.sampling_rate / step, np.arange(points), semitones) / 12)


def voicing(power: Waveform, low: int) -> Waveform:
    """How voiced the frames of a power spectrum (…, frames, F) are, from 0 to 1, (…, frames, 1).

    It is estimated from the share of the energy below bin `low`: 0 up to a quarter, 1 from three quarters on.
    """
    share = power[..., :low].sum(axis=-1, keepdims=True) / (power.sum(axis=-1, keepdims=True) + 1e-12)
    return np.clip(2 * share - 0.5, 0, 1)


def pulses(frequency: Waveform) -> Waveform:
    """A train of pulses with a frequency (T,) in cycles per sample, as loud as white noise of unit level, (T,)."""
    phase = np.cumsum(frequency)
    last = np.flatnonzero(np.diff(np.floor(phase)))  # the sample before each pulse
    share = (np.floor(phase[last + 1]) - phase[last]) / frequency[last + 1]  # of the way to the next sample
    train = np.zeros(len(phase), np.float32)
    height = np.sqrt(1 / frequency[last])
    train[last] += (1 - share) * height
    train[last + 1] += share * height
    return train
