"""Losses between estimated and true sources: `loss(estimates, labels, mixture)` → a number.

Estimates and labels are (B, S, C, T), of all sources or of some; the mixture is (B, C, T).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from .pesq import PESQLoss
from .spectral import MultiResolutionSTFTLoss
from .stoi import STOILoss
from .waveform import BandSNRLoss, L1Loss, MixtureSNRLoss, MSELoss, SISDRLoss


@dataclass(frozen=True)
class LossType:
    """How a loss is made, and what it needs."""

    make: Callable[..., nn.Module]
    without_last_source: bool = False  # A default for losses on spectra: the last source is the rest of the mixture.
    needs_sampling_rate: bool = False

    def __call__(self, sampling_rate: int = 16000) -> nn.Module:
        return self.make(sampling_rate) if self.needs_sampling_rate else self.make()


# A new loss is one entry here.
LOSSES = {
    "mse": LossType(MSELoss),
    "l1": LossType(L1Loss),
    "si_sdr": LossType(SISDRLoss),
    "mixture_snr": LossType(MixtureSNRLoss),
    "band_snr": LossType(BandSNRLoss, needs_sampling_rate=True),
    "multi_resolution_stft": LossType(MultiResolutionSTFTLoss, without_last_source=True, needs_sampling_rate=True),
    "stoi": LossType(STOILoss, without_last_source=True, needs_sampling_rate=True),
    "estoi": LossType(partial(STOILoss, extended=True), without_last_source=True, needs_sampling_rate=True),
    "pesq": LossType(PESQLoss, without_last_source=True, needs_sampling_rate=True),
}


class WeightedLoss(nn.Module):
    """Weighted sum of named losses, in float32.

    Args:
        terms (`list[str]`): `name`, `name:weight` or `name:weight@source,source`, as in `"l1"`,
            `"multi_resolution_stft:0.5"` or `"si_sdr:0.1@vocals"`. Without sources, a loss compares all of them; the
            losses on spectra leave out the last one.
        sources (`list[str]`): names of the model's sources, in order.
        sampling_rate (`int`): sampling rate in Hz.

    Raises:
        ValueError: there is no such loss or source, or a weight is not a number.
    """

    def __init__(self, terms: list[str], sources: list[str], sampling_rate: int = 16000):
        super().__init__()
        if not terms:
            raise ValueError(f"losses={terms}: name at least one of {', '.join(LOSSES)}")
        self.weights: list[float] = []
        self.indices: list[list[int]] = []
        self.losses = nn.ModuleList()
        for term in terms:
            name, weight, chosen = _parse_term(term)
            if unknown := [source for source in chosen if source not in sources]:
                raise ValueError(f"loss {term!r}: the model has no source {unknown[0]!r}, but {', '.join(sources)}")
            chosen = chosen or (sources[:-1] if LOSSES[name].without_last_source else sources)
            self.weights.append(weight)
            self.indices.append([list(sources).index(source) for source in chosen])
            self.losses.append(LOSSES[name](sampling_rate))

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        """Estimates and labels (B, K, C, T) and their mixture (B, C, T) → the loss, a scalar."""
        with torch.autocast(estimates.device.type, enabled=False):
            estimates, labels, mixture = estimates.float(), labels.float(), mixture.float()
            return sum(  # pyrefly: ignore[bad-return]  # a sum of tensors is a tensor
                weight * loss(estimates[:, indices], labels[:, indices], mixture)
                for weight, indices, loss in zip(self.weights, self.indices, self.losses)
            )


def _parse_term(term: str) -> tuple[str, float, list[str]]:
    """`"l1:0.5@vocals,drums"` → name, weight, sources."""
    rest, _, sources = term.partition("@")
    name, _, weight = rest.partition(":")
    if name not in LOSSES:
        raise ValueError(f"loss {name!r}: choose among {', '.join(LOSSES)}, as in 'l1:1.0'")
    try:
        return name, float(weight or 1), [source.strip() for source in sources.split(",") if source]
    except ValueError:
        raise ValueError(f"loss {term!r}: the weight must be a number, as in 'l1:0.5'") from None
