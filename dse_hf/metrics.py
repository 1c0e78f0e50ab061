"""Scores of a separated signal against its reference: thin wrappers over torchmetrics, pesq and pystoi."""

import torch
from torch import Tensor


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return scale_invariant_signal_distortion_ratio(estimate, reference)


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-distortion ratio in dB, with a filter of 512 taps allowed for (BSS-eval), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio import signal_distortion_ratio

    return signal_distortion_ratio(estimate, reference)


def pesq(estimate: Tensor, reference: Tensor, sampling_rate: int) -> Tensor:
    """PESQ (ITU-T P.862.2 wide band at 16 kHz, P.862 narrow band at 8 kHz), -0.5 to 4.5, (…, T), (…, T) → (…).

    NaN where the standard finds no utterance in the reference.
    """
    from torchmetrics.functional.audio.pesq import perceptual_evaluation_speech_quality

    if sampling_rate not in (8000, 16000):
        raise ValueError(f"sampling_rate={sampling_rate}: PESQ is defined at 8000 and 16000 Hz only")
    mode = "wb" if sampling_rate == 16000 else "nb"
    scores = perceptual_evaluation_speech_quality(
        estimate, reference, sampling_rate, mode, keep_same_device=True, n_processes=1
    )
    return torch.where(scores < -0.5, torch.nan, scores)


def stoi(estimate: Tensor, reference: Tensor, sampling_rate: int, extended: bool = False) -> Tensor:
    """Short-time objective intelligibility, 0 to 1 (ESTOI if `extended`), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio.stoi import short_time_objective_intelligibility

    return short_time_objective_intelligibility(estimate, reference, sampling_rate, extended)
