"""How recordings differ from sound in the air: their bandwidth, telephones and codecs."""

import numpy as np
from scipy.signal import firwin, oaconvolve

from .augmentation import Waveform


# Share of the highest frequency from which a bandwidth counts as full.
FULL_BANDWIDTH = 0.9
# Width of the transition band of `limit_bandwidth`, in Hz, and its attenuation in dB.
TRANSITION, ATTENUATION = 500.0, 75.0


def limit_bandwidth(waveforms: Waveform, bandwidth: float, sampling_rate: int) -> Waveform:
    """Removes what is above `bandwidth` (Hz) from waveforms (…, T), without a delay.

    The filter is a linear-phase low-pass with a Kaiser window. Its transition band ends at `bandwidth`. From 0.9 of the
    highest frequency on, waveforms stay as they are.
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
