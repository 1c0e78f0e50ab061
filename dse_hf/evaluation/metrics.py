"""Metrics: the functions that score a separated signal, and THE table of them, which everything else reads.

A new metric is a function and an entry of [`METRICS`]: evaluation, training, tables, model cards, the command line
and the processes that score then know it.
"""

from __future__ import annotations  # PyTorch is imported where scores are computed; tables and cards do without it

import contextlib
import importlib.util
import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import resample
from .high_band import log_spectral_distance, si_sdr_above_8khz


if TYPE_CHECKING:
    from torch import Tensor


SDR_FILTER_LENGTH = 512  # samples, as in BSS-eval
PESQ_SECONDS = 20  # PESQ crashes on more than 50 utterances, each of which has at least 0.4 s
DNSMOS_RATE = 16000


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), (…, T), (…, T) → (…)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return scale_invariant_signal_distortion_ratio(estimate, reference)


def si_sdr_improvement(estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """How much higher the SI-SDR of the estimate is than that of the mixture, in dB, (…, T) each → (…)."""
    return si_sdr(estimate, reference) - si_sdr(mixture, reference)


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-distortion ratio in dB (BSS-eval), (…, T), (…, T) → (…). It forgives a filter of 512 taps."""
    from torchmetrics.functional.audio import signal_distortion_ratio

    return signal_distortion_ratio(estimate, reference, filter_length=SDR_FILTER_LENGTH)


def pesq(estimate: Tensor, reference: Tensor, sampling_rate: int) -> Tensor:
    """PESQ (ITU-T P.862.2 wide band at 16 kHz, P.862 narrow band at 8 kHz), 1.0 to 4.6, (…, T), (…, T) → (…).

    A signal of more than 20 s is scored in pieces of equal length, and gets the mean of their scores. The score is NaN
    where the standard finds no utterance in the reference, or where the signal is shorter than a quarter of a second.
    Another sampling rate raises a ValueError.
    """
    import pesq as backend

    if sampling_rate not in (8000, 16000):
        raise ValueError(f"sampling_rate={sampling_rate}: PESQ is defined at 8000 and 16000 Hz only; resample first")
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

    The score is NaN where less than 0.4 s of the reference is loud enough to count.
    """
    import pystoi

    def score(estimate: np.ndarray, reference: np.ndarray) -> float:
        with warnings.catch_warnings():
            # pystoi would return 1e-5 after this warning.
            warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
            try:
                return pystoi.stoi(reference, estimate, sampling_rate, extended)
            except (RuntimeWarning, np.exceptions.AxisError, ValueError):  # the last two: there is no frame at all
                return math.nan

    return _for_each_signal(score, estimate, reference)


def dnsmos(estimate: Tensor) -> Tensor:
    """Overall quality that DNSMOS predicts without a reference, 1 to 5, (…, T) at 16 kHz → (…).

    Do not judge by this score alone: it also rises when speech is removed together with the noise.
    """
    from speechmos import dnsmos as backend

    def score(estimate: np.ndarray, _) -> float:
        scaled = estimate / max(1.0, np.abs(estimate).max())  # speechmos refuses samples beyond 1
        scores: Any = backend.run(scaled.astype(np.float32), DNSMOS_RATE)
        return scores["ovrl_mos"]

    return _for_each_signal(score, estimate, estimate)


def _for_each_signal(score: Callable, estimate: Tensor, reference: Tensor) -> Tensor:
    """Calls `score` on every estimate (T,) and its reference (T,), as NumPy arrays of float64."""
    import torch

    if estimate.shape != reference.shape:
        raise ValueError(f"shapes {tuple(estimate.shape)} and {tuple(reference.shape)}: give two of the same shape")
    rows = (
        signal.detach().cpu().double().flatten(0, -2).numpy()
        for signal in map(torch.atleast_2d, (estimate, reference))
    )
    values = [float(score(*pair)) for pair in zip(*rows)]
    return torch.tensor(values, device=estimate.device).reshape(estimate.shape[:-1])


# ── The table ──


@dataclass(frozen=True)
class Metric:
    """One way to score a separated signal.

    `function` gives scores of shape `(C,)`. It gets the arguments that it names: `estimate`, `reference` and
    `mixture`, float64 tensors of shape `(C, T)`, and `sampling_rate` in Hz. If that is above `highest_rate`, it gets
    all of them at `highest_rate`.
    """

    title: str  # the name in tables and on cards
    function: Callable[..., Tensor]
    digits: int = 2  # after the decimal point in tables
    unit: str = ""  # for the headings of tables
    modules: tuple[str, ...] = ()  # modules of other packages that the function imports
    optional: bool = False  # left out if one of these packages is missing; those of other metrics are in extra `eval`
    bands: dict[int, str] | None = None  # rates in Hz where it is defined → addition to the title; by default any
    lowest_rate: int = 0  # in Hz; signals at a lower rate have no score
    highest_rate: int | None = None  # in Hz; signals at a higher rate are resampled to it
    speech_only: bool = False  # defined for speech, and taken of the first source only
    more_is_better: bool = True
    is_ratio: bool = False  # the score is infinite where a signal equals the reference
    min_samples: int = 1  # length of the shortest signal that can be scored
    nan_reason: str = "not finite"  # what it means if the function gives NaN

    @property
    def packages(self) -> list[str]:
        """The packages that `modules` are in."""
        return [module.partition(".")[0] for module in self.modules]

    def scored_rate(self, sampling_rate: int) -> int:
        """The rate in Hz at which signals of a sampling rate are scored."""
        return min(sampling_rate, self.highest_rate or sampling_rate)

    def is_defined_at(self, sampling_rate: int) -> bool:
        """Whether signals of a sampling rate in Hz have a score."""
        return sampling_rate >= self.lowest_rate and (
            self.bands is None or self.scored_rate(sampling_rate) in self.bands
        )

    def heading(self, sampling_rate: int | None = None) -> str:
        """The title with its unit, and with its band if a sampling rate is given."""
        title = self.title + (self.bands or {}).get(self.scored_rate(sampling_rate or 0), "")
        return f"{title} ({self.unit})" if self.unit else title

    @property
    def arguments(self) -> list[str]:
        """The arguments that `function` gets."""
        known = ("reference", "estimate", "mixture", "sampling_rate")
        return [name for name in known if name in inspect.signature(self.function).parameters]

    def obstacle(self, signals: dict[str, np.ndarray]) -> str | None:
        """The reason why there is no score for these signals `(C, T)`, or `None`."""
        if not np.isfinite(signals["estimate"]).all():
            return "NaN or infinity in the estimate"
        # A metric without a reference judges any estimate, a silent one too.
        compared = [name for name in self.arguments if name in signals] if "reference" in self.arguments else []
        for name in compared:
            if (signals[name] == 0).all(axis=-1).any():  # one silent channel is enough: it has no score
                return f"silent {name}"
        if signals["estimate"].shape[-1] < self.min_samples:
            return f"shorter than {self.min_samples} samples"
        for name in compared if self.is_ratio else ():
            if name != "reference" and np.array_equal(signals[name], signals["reference"]):
                return f"{name} equal to the reference"
        return None


_RATIO = {
    "digits": 1,
    "unit": "dB",
    "modules": ("torchmetrics.functional.audio",),
    "is_ratio": True,
    "min_samples": SDR_FILTER_LENGTH,
}
_SPEECH = {"speech_only": True, "nan_reason": "too little speech", "highest_rate": 16000}
_HIGH_BAND = {"nan_reason": "next to nothing above 8 kHz"}

METRICS: dict[str, Metric] = {
    "si_sdr": Metric("SI-SDR", si_sdr, **_RATIO),
    "si_sdr_improvement": Metric("SI-SDR improvement", si_sdr_improvement, **_RATIO),
    "sdr": Metric("SDR", sdr, **_RATIO),
    "si_sdr_above_8khz": Metric("SI-SDR above 8 kHz", si_sdr_above_8khz, lowest_rate=20000, **_RATIO, **_HIGH_BAND),
    "log_spectral_distance": Metric(
        "LSD of 8 to 16 kHz",
        log_spectral_distance,
        digits=1,
        unit="dB",
        lowest_rate=32000,
        more_is_better=False,
        min_samples=SDR_FILTER_LENGTH,
        **_HIGH_BAND,
    ),
    "pesq": Metric("PESQ", pesq, modules=("pesq",), bands={8000: "-NB", 16000: "-WB"}, **_SPEECH),
    "stoi": Metric("STOI", stoi, digits=3, modules=("pystoi",), **_SPEECH),
    "estoi": Metric("ESTOI", partial(stoi, extended=True), digits=3, modules=("pystoi",), **_SPEECH),
    "dnsmos": Metric(
        "DNSMOS",
        dnsmos,
        # speechmos needs the other two, and does not declare them.
        modules=("speechmos.dnsmos", "librosa.feature.spectral", "onnxruntime"),
        optional=True,
        bands={DNSMOS_RATE: ""},
        highest_rate=DNSMOS_RATE,
        speech_only=True,
        min_samples=SDR_FILTER_LENGTH,
    ),
}


def available_metrics(sampling_rate: int, speech: bool = True) -> list[str]:
    """Names of the metrics that [`score_signal`] gives at a sampling rate in Hz, with the packages that are installed.

    Without `speech`, the metrics that are for speech only are left out.
    """
    return [
        name
        for name, metric in METRICS.items()
        if metric.is_defined_at(sampling_rate)
        and (speech or not metric.speech_only)
        and (not metric.optional or all(map(importlib.util.find_spec, metric.packages)))
    ]


def score_signal(
    estimate: np.ndarray, reference: np.ndarray, mixture: np.ndarray, sampling_rate: int, metrics: list[str]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Scores one source of one clip: `estimate` is the separated source, all signals are (C, T) at one rate in Hz.

    Returns metric → score, the mean over the channels, `None` where there is none; and for those without a score,
    metric → reason. `metrics` are names that [`available_metrics`] gives.
    """
    import torch

    signals = {"reference": reference, "estimate": estimate, "mixture": mixture}
    at_rate = {sampling_rate: {name: signal.astype(np.float64) for name, signal in signals.items()}}
    scores, reasons = {}, {}
    for name in metrics:
        metric = METRICS[name]
        rate = metric.scored_rate(sampling_rate)
        if rate not in at_rate:
            at_rate[rate] = {
                key: resample(signal.T, sampling_rate, rate).T for key, signal in at_rate[sampling_rate].items()
            }
        reason = metric.obstacle(at_rate[rate])
        given = {**{key: torch.from_numpy(signal) for key, signal in at_rate[rate].items()}, "sampling_rate": rate}
        arguments = {key: given[key] for key in metric.arguments}
        score = math.nan if reason else float(metric.function(**arguments).mean())
        scores[name] = score if math.isfinite(score) else None
        if scores[name] is None:
            reasons[name] = reason or metric.nan_reason
    return scores, reasons
