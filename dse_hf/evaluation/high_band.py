"""Scores of what lies above 8 kHz, which PESQ, STOI and DNSMOS do not hear."""

from __future__ import annotations  # PyTorch is imported where scores are computed

import math
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    from torch import Tensor


STOP_HZ, PASS_HZ = 8000, 8400  # the high-pass removes what is below the first, and keeps what is above the second
NOTHING_DB = -60  # a high band of the reference that is so far below the whole reference is next to nothing
MISSING_DB = -40  # and so is one of the estimate that is so far below that of the reference
ATTENUATION_DB = 80  # of the high-pass

FRAME_SECONDS = 0.032  # frames overlap by half
DISTANCE_BAND_HZ = (8000, 16000)
ACTIVE_DB = 40  # frames of the reference that are at most so far below its loudest one count, as in STOI
FLOOR_DB = -80  # lowest level of a bin, relative to the mean of the reference's bins in the frames that count


def si_sdr_above_8khz(estimate: Tensor, reference: Tensor, sampling_rate: int) -> Tensor:
    """SI-SDR in dB of what lies above 8 kHz, (…, T), (…, T) → (…). One linear-phase high-pass filters both signals.

    The score is NaN where the high band of the reference is more than 60 dB below the whole reference, or that of the
    estimate more than 40 dB below that of the reference. A system without a high band thus has no score.
    """
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    heard, expected = (high_band(signal, sampling_rate) for signal in (estimate, reference))
    scores = scale_invariant_signal_distortion_ratio(heard, expected)
    something = _above(expected, reference, NOTHING_DB) & _above(heard, expected, MISSING_DB)
    return scores.where(something, math.nan)


def log_spectral_distance(estimate: Tensor, reference: Tensor, sampling_rate: int) -> Tensor:
    """Log-spectral distance in dB from 8 to 16 kHz in the frames with speech, 0 or more, (…, T), (…, T) → (…).

    The distance of a frame is √(mean over the bins k from 8 to 16 kHz of (10 lg R[k] - 10 lg E[k])²), where R and E
    are the power spectra of the reference and of the estimate, in frames of 32 ms with a Hann window and a hop of
    16 ms. This is the d₂ of log spectra in Gray & Markel, "Distance measures for speech processing", IEEE Trans. ASSP
    24(5), 1976. The score is the mean over the frames in which the reference is at most 40 dB below its loudest frame.
    No power counts as less than 80 dB below the mean of R over all bins of these frames. The level of the estimate
    counts.

    The score is NaN where the reference has next to nothing above 8 kHz, as in [`si_sdr_above_8khz`].
    """
    powers = [_frame_powers(signal, sampling_rate) for signal in (estimate, reference)]
    active = active_frames(powers[1])
    whole = powers[1].mean(dim=-1)  # (…, frames)
    mean = (whole * active).sum(dim=-1) / active.sum(dim=-1)
    floor = (mean * 10 ** (FLOOR_DB / 10)).clamp(min=1e-30)[..., None, None]
    low, high = (round(edge * FRAME_SECONDS) for edge in DISTANCE_BAND_HZ)
    levels = [10 * power[..., low : high + 1].maximum(floor).log10() for power in powers]
    distances = (levels[0] - levels[1]).square().mean(dim=-1).sqrt()
    scores = (distances * active).sum(dim=-1) / active.sum(dim=-1)
    return scores.where(_above(high_band(reference, sampling_rate), reference, NOTHING_DB), math.nan)


def band_level(signal: Tensor, reference: Tensor, sampling_rate: int, low: float, high: float) -> Tensor:
    """Level in dB of a signal from `low` to `high` Hz in the frames where the reference is active, (…, T) → (…)."""
    active = active_frames(_frame_powers(reference, sampling_rate))
    first, last = (round(edge * FRAME_SECONDS) for edge in (low, high))
    powers = _frame_powers(signal, sampling_rate)[..., first:last].mean(dim=-1)
    return 10 * ((powers * active).sum(dim=-1) / active.sum(dim=-1)).clamp(min=1e-30).log10()


def active_frames(powers: Tensor) -> Tensor:
    """Which frames (…, N, bins) are at most 40 dB below the loudest one, (…, N)."""
    whole = powers.mean(dim=-1)
    return whole >= whole.amax(dim=-1, keepdim=True) * 10 ** (-ACTIVE_DB / 10)


def high_band(signal: Tensor, sampling_rate: int) -> Tensor:
    """What lies above 8 kHz of a signal (…, T), at the same time: nothing below 8 kHz, everything above 8.4 kHz."""
    import torch

    taps = _high_pass(sampling_rate).to(signal)
    size, delay = signal.shape[-1] + len(taps) - 1, len(taps) // 2
    filtered = torch.fft.irfft(torch.fft.rfft(signal, size) * torch.fft.rfft(taps, size), size)
    return filtered[..., delay : delay + signal.shape[-1]]


def _high_pass(sampling_rate: int) -> Tensor:
    """An odd number of taps: an ideal high-pass in a Kaiser window (Kaiser's formulas for its length and shape)."""
    import torch

    width = 2 * np.pi * (PASS_HZ - STOP_HZ) / sampling_rate
    half = math.ceil((ATTENUATION_DB - 8) / (2.285 * width) / 2)
    cut_off = (PASS_HZ + STOP_HZ) / sampling_rate  # 1 at half the sampling rate
    taps = -cut_off * np.sinc(cut_off * np.arange(-half, half + 1))
    taps[half] += 1
    return torch.from_numpy(taps * np.kaiser(2 * half + 1, 0.1102 * (ATTENUATION_DB - 8.7)))


def _above(signal: Tensor, other: Tensor, level: float) -> Tensor:
    """Whether the power of a signal is more than `level` dB above that of another, (…, T), (…, T) → (…)."""
    return signal.square().mean(dim=-1) > other.square().mean(dim=-1) * 10 ** (level / 10)


def _frame_powers(signal: Tensor, sampling_rate: int) -> Tensor:
    """Power spectra (…, frames, bins) of a signal (…, T), in bins of 31.25 Hz. Zeros fill up the last frame."""
    import torch

    size = round(FRAME_SECONDS * sampling_rate)
    hop = size // 2
    missing = max(0, size - signal.shape[-1]) or -(signal.shape[-1] - size) % hop
    frames = torch.nn.functional.pad(signal, (0, missing)).unfold(-1, size, hop)
    return torch.fft.rfft(frames * torch.hann_window(size, dtype=signal.dtype)).abs().square()
