"""The true bandwidth of a clip: up to which frequency it has content. A file's sampling rate says little about it."""

import numpy as np


FULL_BAND = 15000  # Hz
FRAME = 2048  # samples
BAND = 250.0  # Hz
# A band has content if it is at most this far below the loudest band,
BELOW_PEAK_DB = 75.0
# and above the rounding noise of 16-bit samples, which is -121 dB of full scale in a band of 250 Hz,
ROUNDING_DB = -112.0
# and, in speech, if its loud frames are this far above its quiet ones: above the noise of the recording itself.
ABOVE_NOISE_DB = 10.0


def bandwidth(samples: np.ndarray, rate: int, is_speech: bool) -> int:
    """Returns the highest frequency in Hz up to which a clip (T,) has content, in steps of about 250 Hz.

    The spectrum is taken in bands of about 250 Hz and frames of 2,048 samples. The level of a band is the 90th
    percentile over the frames, so that a few hissing sounds suffice, and clicks do not count. Its noise is the 10th
    percentile. A band has content as the constants above say. The bandwidth is the upper end of the highest band that
    has content together with two of the three bands below it: a single whistle does not count.

    The noise of a clip counts in speech only: a noise is its own noise.
    """
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    window = np.hanning(FRAME).astype(np.float32)
    starts = range(0, len(samples) - FRAME + 1, FRAME // 2)
    frames = np.stack([samples[start : start + FRAME] for start in starts])
    # A full-scale sine has power 1/2, as in the time domain.
    power = np.abs(np.fft.rfft(frames * window)) ** 2 * (2 / (FRAME * np.sum(window**2)))
    per_band = round(BAND * FRAME / rate)
    count = power.shape[1] // per_band
    bands = power[:, : count * per_band].reshape(len(power), count, per_band).sum(axis=2)
    levels = 10 * np.log10(bands + 1e-20)
    loud = np.percentile(levels, 90, axis=0)
    has_content = (loud > loud.max() - BELOW_PEAK_DB) & (loud > ROUNDING_DB)
    if is_speech:
        has_content &= loud > np.percentile(levels, 10, axis=0) + ABOVE_NOISE_DB
    together = np.convolve(has_content, np.ones(4))[:count]  # of a band and the three below it
    highest = np.flatnonzero(has_content & (together >= 3))
    return round((highest[-1] + 1) * per_band * rate / FRAME) if len(highest) else 0
