"""Mixtures of clean speech and noise, made during training."""

import numpy as np

from .arguments import DataArguments
from .augmentation import RandomEqualizer, RandomFormants, RandomSpeed, Waveform, gain_for_snr, rms
from .clips import ClipCollection, ClipPool
from .effects import Effects, as_example, versions
from .epochs import EpochDataset
from .noises import SYNTHETIC_NOISES, Babble, Crowd, NoiseVariation
from .recordings import limit_bandwidth
from .voices import Voices


class Mixer:
    """Mixes speech with noise. Level, SNR and augmentation are drawn from the ranges of the arguments."""

    def __init__(self, sampling_rate: int, length: int, arguments: DataArguments):
        self.sampling_rate, self.length, self.arguments = sampling_rate, length, arguments
        self.speech_speed = self.noise_speed = self.speech_equalizer = self.noise_equalizer = None
        if arguments.augment and arguments.speed_and_equalizer:
            self.speech_speed = RandomSpeed(arguments.speech_speed_low, arguments.speech_speed_high)
            self.noise_speed = RandomSpeed(arguments.noise_speed_low, arguments.noise_speed_high)
            self.speech_equalizer = RandomEqualizer(sampling_rate, 2, arguments.speech_equalizer_db)
            self.noise_equalizer = RandomEqualizer(sampling_rate, bands=3, max_gain_db=12)
        self.synthetic_noises = [SYNTHETIC_NOISES[name](sampling_rate) for name in arguments.synthetic_noises]
        self.babble = Babble(arguments.babble_voices_low, arguments.babble_voices_high)
        self.crowd = Crowd(sampling_rate)
        self.formants = RandomFormants(sampling_rate, arguments.voice_variation_high)
        self.voices = Voices(sampling_rate, arguments)
        self.noise_variation = NoiseVariation(sampling_rate)
        self.effects = Effects(sampling_rate, arguments)

    def __call__(self, speech, noise, rng: np.random.Generator) -> dict[str, Waveform]:
        """Makes an example with `input_values` (C, T), the mixture, and `labels` (2, C, T), speech and noise.

        `speech` and `noise` have a method `fill`, as in `ClipCollection`. If the speech has a cleaned version, this
        version is the foreground. The noise that was removed from it belongs to the background, but does not count
        for the SNR. The same holds for reverberation that is not kept.
        """
        arguments = self.arguments
        bandwidths: list[float] = []
        if arguments.bandwidth_column is not None:
            speech = _SpeechWithBandwidths(speech, bandwidths)
        balance = arguments.speaker_balancing if arguments.augment else 0.0
        speed = self.voices.speed(self.speech_speed, rng)
        voice = speech.fill(self.length, rng, speed=speed, max_gap=0.5, balance=balance)
        voice = self.voices(voice, rng)
        voice_variation_share = arguments.voice_variation_share if arguments.augment else 0.0
        if voice_variation_share > 0 and rng.uniform() < voice_variation_share:
            voice = self.formants(voice, rng)
        if self.speech_equalizer is not None:
            voice = self.speech_equalizer(voice, rng)
        voice = self.voices.coded(voice, rng)
        recording, foreground = versions(self.effects.foreground(voice, rng))
        background = self._noise(speech, noise, rng)
        sources = np.stack([foreground, background, recording - foreground])
        sources = limit_bandwidth(sources, min(bandwidths, default=self.sampling_rate / 2), self.sampling_rate)
        foreground, background, own_noise = self.effects.sources(sources, rng)
        share = rng.uniform()
        snr_db = rng.uniform(arguments.snr_low, arguments.snr_high)
        background = background * gain_for_snr(foreground, background, snr_db)
        if share < arguments.clean_share:
            background = np.zeros_like(background)
        elif share < arguments.clean_share + arguments.noise_only_share:
            foreground, own_noise = np.zeros_like(foreground), np.zeros_like(own_noise)
        polarity = np.ones((2, 1, 1), np.float32)
        if arguments.augment:
            polarity = rng.choice(np.array([-1, 1], np.float32), (2, 1, 1))
        sources = polarity * np.stack([foreground, background]).astype(np.float32)
        sources[1] += polarity[0] * own_noise
        level = 10 ** (rng.uniform(arguments.level_low, arguments.level_high) / 20)
        return as_example(sources, level / max(rms(sources.sum(axis=0)), 1e-8))

    def _noise(self, speech, noise, rng: np.random.Generator) -> Waveform:
        """Draws one noise or two."""
        background = self._one_noise(speech, noise, rng)
        if self.arguments.augment and rng.uniform() < self.arguments.second_noise_share:
            second = self._one_noise(speech, noise, rng)
            background = background + second * gain_for_snr(background, second, rng.uniform(-5, 10))
        return background

    def _one_noise(self, speech, noise, rng: np.random.Generator) -> Waveform:
        """Draws a noise that is synthetic, babble, a crowd, or recorded."""
        arguments = self.arguments
        draw = rng.uniform() if arguments.augment else float("inf")
        if draw < arguments.synthetic_noise_share:
            synthetic = self.synthetic_noises[int(rng.integers(len(self.synthetic_noises)))](self.length, rng)
            background = np.repeat(synthetic[None], speech.channels, axis=0)
        elif (draw := draw - arguments.synthetic_noise_share) < arguments.babble_share:
            return self.babble(lambda: self._other_voice(speech, rng), rng)
        elif draw - arguments.babble_share < arguments.crowd_share:
            background = self.crowd(lambda: self._other_voice(speech, rng), rng)
        else:
            background = noise.fill(self.length, rng, speed=self.noise_speed, balance=1.0)
            variation_share = arguments.noise_variation_share if arguments.augment else 0.0
            if variation_share > 0 and rng.uniform() < variation_share:
                background = self.noise_variation(background, rng)
        return background if self.noise_equalizer is None else self.noise_equalizer(background, rng)

    def _other_voice(self, speech, rng: np.random.Generator) -> Waveform:
        """Draws speech as it was recorded, (C, T)."""
        return versions(speech.fill(self.length, rng, speed=self.noise_speed))[0]


class _SpeechWithBandwidths:
    """Speech of which the bandwidths of all drawn clips are appended to a list."""

    def __init__(self, speech, bandwidths: list[float]):
        self.speech, self.channels, self.bandwidths = speech, speech.channels, bandwidths

    def fill(self, length: int, rng: np.random.Generator, **options) -> Waveform:
        return self.speech.fill(length, rng, bandwidths=self.bandwidths, **options)


class SpeechNoiseMixtures(EpochDataset):
    """Mixtures of one speaker with noise. Example i depends only on the seed, the epoch and i, whatever the workers.

    An example has `input_values` (C, T), the mixture, and `labels` (2, C, T), speech and noise, which sum to it.

    Args:
        speech, noise (`ClipCollection` or `ClipPool`): clips of the same sampling rate and number of channels.
        length (`int`): length T of an example, in samples.
        size (`int`): number of examples.
        arguments (`DataArguments`): ranges of SNR and level, shares and augmentation.
        seed (`int`): seed of all random draws.
    """

    def __init__(
        self,
        speech: ClipCollection | ClipPool,
        noise: ClipCollection | ClipPool,
        length: int,
        size: int,
        arguments: DataArguments,
        seed: int = 0,
    ):
        pools = [clips if isinstance(clips, ClipPool) else ClipPool([clips]) for clips in (speech, noise)]
        super().__init__(size, seed, [collection for pool in pools for collection in pool.collections])
        self.speech, self.noise = speech, noise
        self.mixer = Mixer(speech.sampling_rate, length, arguments)

    def example(self, index: int, rng: np.random.Generator) -> dict[str, Waveform]:
        return self.mixer(self.speech, self.noise, rng)
