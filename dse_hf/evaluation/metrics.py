"""Scores of a separated signal against its reference: thin wrappers over torchmetrics, pesq, pystoi and speechmos.

[`score_signal`] gives them all for one source of one clip, and says why one cannot be given.
"""

import contextlib
import importlib.util
import math
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


SDR_FILTER_LENGTH = 512  # samples, as in BSS-eval; shorter clips get no ratio
PESQ_SECONDS = 20  # at most: it crashes on more than 50 utterances, which have 0.4 s or more each
DNSMOS_RATE = 16000


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return scale_invariant_signal_distortion_ratio(estimate, reference)


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-distortion ratio in dB, with a filter of 512 taps allowed for (BSS-eval), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio import signal_distortion_ratio

    return signal_distortion_ratio(estimate, reference, filter_length=SDR_FILTER_LENGTH)


def pesq(estimate: Tensor, reference: Tensor, sampling_rate: int) -> Tensor:
    """PESQ (ITU-T P.862.2 wide band at 16 kHz, P.862 narrow band at 8 kHz), 1.0 to 4.6, (…, T), (…, T) → (…).

    Signals of more than 20 s are scored in pieces of equal length, of which this is the mean. NaN where the standard
    finds no utterance in the reference, or less than a quarter of a second of signal.
    """
    import pesq as backend

    if sampling_rate not in (8000, 16000):
        raise ValueError(f"sampling_rate={sampling_rate}: PESQ is defined at 8000 and 16000 Hz only")
    mode = "wb" if sampling_rate == 16000 else "nb"

    def score(estimate: np.ndarray, reference: np.ndarray) -> float:
        pieces = -(-len(reference) // (PESQ_SECONDS * sampling_rate))
        scores = []
        for pair in zip(np.array_split(reference, pieces), np.array_split(estimate, pieces)):
            with contextlib.suppress(backend.NoUtterancesError, backend.BufferTooShortError):
                scores.append(backend.pesq(sampling_rate, *pair, mode))
        return sum(scores) / len(scores) if scores else math.nan

    return _for_each_signal(score, estimate, reference)


def stoi(estimate: Tensor, reference: Tensor, sampling_rate: int, extended: bool = False) -> Tensor:
    """Short-time objective intelligibility, up to 1 (ESTOI if `extended`), (…, T), (…, T) → (…).

    NaN where less than 0.4 s of the reference is loud enough to count.
    """
    import pystoi

    def score(estimate: np.ndarray, reference: np.ndarray) -> float:
        with warnings.catch_warnings():
            # It would give 1e-5 after the warning.
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
            try:
                return pystoi.stoi(reference, estimate, sampling_rate, extended)
            except (RuntimeWarning, np.exceptions.AxisError, ValueError):  # the others: not one frame
                return math.nan

    return _for_each_signal(score, estimate, reference)


def dnsmos(estimate: Tensor) -> Tensor:
    """Overall quality that DNSMOS predicts without a reference, 1 to 5, (…, T) at 16 kHz → (…).

    Never judge by it alone: it also rises when speech is lost together with the noise.
    """
    from speechmos import dnsmos as backend

    def score(estimate: np.ndarray, _) -> float:
        scaled = estimate / max(1.0, np.abs(estimate).max())  # it refuses what would clip
        return backend.run(scaled.astype(np.float32), DNSMOS_RATE)["ovrl_mos"]

    return _for_each_signal(score, estimate, estimate)


def _for_each_signal(score: Callable, estimate: Tensor, reference: Tensor) -> Tensor:
    """`score` of every estimate (T,) with its reference (T,), both NumPy arrays of float64."""
    if estimate.shape != reference.shape:
        raise ValueError(f"shapes {tuple(estimate.shape)} and {tuple(reference.shape)}: must be the same")
    rows = (
        signal.detach().cpu().double().flatten(0, -2).numpy()
        for signal in map(torch.atleast_2d, (estimate, reference))
    )
    values = [float(score(*pair)) for pair in zip(*rows)]
    return torch.tensor(values, device=estimate.device).reshape(estimate.shape[:-1])


# ── All scores of one source of a clip ──


def available_metrics(sampling_rate: int) -> list[str]:
    """Those that [`score_signal`] gives for speech at this sampling rate, with the packages that are installed."""
    names = ["si_sdr", "si_sdr_improvement", "sdr"]
    if sampling_rate in (8000, 16000):
        names.append("pesq")
    names += ["stoi", "estoi"]
    # librosa and onnxruntime: speechmos needs them, and does not say so to pip.
    if sampling_rate == DNSMOS_RATE and all(map(importlib.util.find_spec, ("speechmos", "librosa", "onnxruntime"))):
        names.append("dnsmos")
    return names


def score_signal(
    estimate: np.ndarray, reference: np.ndarray, mixture: np.ndarray, sampling_rate: int, metrics: list[str]
) -> tuple[dict[str, float | None], dict[str, str]]:
    r"""
    Scores of one source of one clip, means over its channels.

    Args:
        estimate, reference, mixture (`np.ndarray` of shape `(C, T)`): the separated source, the true one, and
            the signal that it was separated from.
        sampling_rate (`int`): of the three, in Hz.
        metrics (`list[str]`): names among those of [`available_metrics`].

    Returns:
        `tuple`: metric → score, `None` where there is none; and for those, metric → the reason.
    """
    estimate, reference, mixture = (torch.from_numpy(x.astype(np.float64)) for x in (estimate, reference, mixture))
    calculations = {
        "si_sdr": lambda: si_sdr(estimate, reference),
        "si_sdr_improvement": lambda: si_sdr(estimate, reference) - si_sdr(mixture, reference),
        "sdr": lambda: sdr(estimate, reference),
        "pesq": lambda: pesq(estimate, reference, sampling_rate),
        "stoi": lambda: stoi(estimate, reference, sampling_rate),
        "estoi": lambda: stoi(estimate, reference, sampling_rate, extended=True),
        "dnsmos": lambda: dnsmos(estimate),
    }
    scores, reasons = {}, {}
    for name in metrics:
        reason = _obstacle(name, estimate, reference, mixture)
        score = math.nan if reason else float(calculations[name]().mean())
        if math.isfinite(score):
            scores[name] = score
        else:
            scores[name] = None
            reasons[name] = reason or ("too little speech" if name in ("pesq", "stoi", "estoi") else "not finite")
    return scores, reasons


def _obstacle(metric: str, estimate: Tensor, reference: Tensor, mixture: Tensor) -> str | None:
    """Why a metric is not defined for these signals (C, T), or `None`."""
    if not estimate.isfinite().all():
        return "NaN or infinity in the estimate"
    if metric == "dnsmos":
        return None if estimate.shape[-1] >= SDR_FILTER_LENGTH else f"shorter than {SDR_FILTER_LENGTH} samples"
    # Of any channel: a silent one has no ratio.
    for title, signal in (("reference", reference), ("estimate", estimate)):
        if (signal == 0).all(dim=-1).any():
            return f"silent {title}"
    if metric not in ("si_sdr", "si_sdr_improvement", "sdr"):
        return None
    if reference.shape[-1] < SDR_FILTER_LENGTH:
        return f"shorter than {SDR_FILTER_LENGTH} samples"
    if torch.equal(estimate, reference):
        return "estimate equal to the reference"
    if metric == "si_sdr_improvement" and (mixture == 0).all(dim=-1).any():
        return "silent mixture"
    if metric == "si_sdr_improvement" and torch.equal(mixture, reference):
        return "mixture equal to the reference"
    return None
