"""The augmentations for every shape of data, each applied to a share of the examples."""

import numpy as np

from .arguments import DataArguments
from .augmentation import BandLimit, Clipping, Reverberation, Waveform
from .recordings import Telephone


class Effects:
    """Reverberation and clipping of the foreground, and a band limit for all sources.

    An effect that is off draws no random numbers. The reverberant, clipped foreground is also the label: the model
    separates sources and does not repair them. So no foreground gets into the background, and the SNR stays exact.
    With `reverberation_kept_ms`, only the beginning of a room's response belongs to the foreground.
    """

    def __init__(self, sampling_rate: int, arguments: DataArguments):
        low, high = arguments.reverberation_low, arguments.reverberation_high
        self._room = Reverberation(sampling_rate, low, high, reflections=arguments.early_reflections)
        self._kept_ms = arguments.reverberation_kept_ms
        effects: tuple = ((arguments.reverberation_share, self._in_room), (arguments.clipping_share, Clipping()))
        self._foreground = [(share, effect) for share, effect in effects if arguments.augment and share > 0]
        self._band_limit_share = arguments.band_limit_share if arguments.augment else 0.0
        self._band_limit = BandLimit(sampling_rate)
        self._telephone_share = arguments.telephone_share if arguments.augment else 0.0
        self._telephone = Telephone(sampling_rate)

    def foreground(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Changes the foreground, (C, T), or a recording and the part of it that is foreground, (2, C, T).

        The result is (2, C, T), too, if a part of the reverberation does not belong to the foreground.
        """
        for share, effect in self._foreground:
            if rng.uniform() < share:
                waveform = effect(waveform, rng)
        return waveform

    def _in_room(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if self._kept_ms is None:
            return self._room(waveform, rng)
        return self._room.with_kept_part(versions(waveform), self._kept_ms / 1000, rng)

    def sources(self, waveforms: Waveform, rng: np.random.Generator) -> Waveform:
        """Changes all sources by the same filters, (K, C, T) → (K, C, T). A telephone adds noise to the last one."""
        if self._telephone_share > 0 and rng.uniform() < self._telephone_share:
            waveforms = self._telephone(waveforms, rng)
        if self._band_limit_share > 0 and rng.uniform() < self._band_limit_share:
            return self._band_limit(waveforms, rng)
        return waveforms


def versions(waveform: Waveform) -> Waveform:
    """Returns a recording and its foreground, (2, C, T), which are the same for a waveform (C, T)."""
    return waveform if waveform.ndim == 3 else np.stack([waveform, waveform])


def as_example(sources: Waveform, gain: float = 1.0) -> dict[str, Waveform]:
    """Makes an example of sources (K, C, T). Its labels sum to its input.

    All are multiplied by `gain`, or by less if a source or the mixture would clip.
    """
    sources = sources.astype(np.float32)
    mixture = sources.sum(axis=0)
    factor = np.float32(min(gain, 0.99 / max(np.abs(mixture).max(), np.abs(sources).max(), 1e-8)))
    return {"input_values": mixture * factor, "labels": sources * factor}
