"""The augmentations that every shape of data shares, applied to shares of the examples."""

import numpy as np

from .arguments import DataArguments
from .augmentation import BandLimit, Clipping, Reverberation, Waveform


class Effects:
    """Reverberation and clipping of the foreground, band limit of all sources. Each draws only where it is on.

    The reverberant, clipped foreground is what the model learns to give back: it separates sources and does not
    repair them, so that the background stays free of the foreground and the SNR stays exact.
    """

    def __init__(self, sampling_rate: int, arguments: DataArguments):
        on = arguments.augment
        self._foreground = [
            (share, effect)
            for share, effect in (
                (
                    arguments.reverberation_share,
                    Reverberation(sampling_rate, arguments.reverberation_low, arguments.reverberation_high),
                ),
                (arguments.clipping_share, Clipping()),
            )
            if on and share > 0
        ]
        self._band_limit_share = arguments.band_limit_share if on else 0.0
        self._band_limit = BandLimit(sampling_rate)

    def foreground(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """(C, T) → (C, T)."""
        for share, effect in self._foreground:
            if rng.uniform() < share:
                waveform = effect(waveform, rng)
        return waveform

    def sources(self, waveforms: Waveform, rng: np.random.Generator) -> Waveform:
        """(K, C, T) → (K, C, T), all through the same filter."""
        if self._band_limit_share > 0 and rng.uniform() < self._band_limit_share:
            return self._band_limit(waveforms, rng)
        return waveforms


def example(sources: Waveform, gain: float = 1.0) -> dict[str, Waveform]:
    """Sources (K, C, T) → an example whose labels sum to its input, turned down together where they would clip."""
    sources = sources.astype(np.float32)
    mixture = sources.sum(axis=0)
    gain = np.float32(min(gain, 0.99 / max(np.abs(mixture).max(), np.abs(sources).max(), 1e-8)))
    return {"input_values": mixture * gain, "labels": sources * gain}
