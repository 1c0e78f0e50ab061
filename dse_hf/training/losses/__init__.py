"""Losses between estimated and true sources: `loss(estimates, labels, mixture)` → a number.

Estimates and labels are (B, S, C, T), of some or all sources; the mixture is (B, C, T).
"""

from functools import partial

import torch
from torch import Tensor, nn

from .pesq import PESQLoss
from .spectral import MultiResolutionSTFTLoss
from .stoi import STOILoss
from .waveform import L1Loss, MixtureSNRLoss, MSELoss, SISDRLoss


LOSSES = {
    "mse": MSELoss,
    "l1": L1Loss,
    "si_sdr": SISDRLoss,
    "mixture_snr": MixtureSNRLoss,
    "multi_resolution_stft": MultiResolutionSTFTLoss,
    "stoi": STOILoss,
    "estoi": partial(STOILoss, extended=True),
    "pesq": PESQLoss,
}

# Spectral terms leave the last source out, unless they are told: it is the rest of the mixture.
SPECTRAL = {"multi_resolution_stft", "stoi", "estoi", "pesq"}
_OF_A_RATE = {"stoi", "estoi", "pesq"}


class WeightedLoss(nn.Module):
    """Weighted sum of named losses, in float32.

    Args:
        terms (`list[str]`): `name`, `name:weight` or `name:weight@source,source`, as in `"l1"`,
            `"multi_resolution_stft:0.5"`, `"si_sdr:0.1@vocals"`. Without sources: all of them, and all but the
            last for spectral losses.
        sources (`list[str]`): names of the model's sources, in order.
        sampling_rate (`int`): in Hz.

    Raises:
        ValueError: an unknown loss or source, or a weight that is no number.
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
            chosen = chosen or (sources[:-1] if name in SPECTRAL else sources)
            self.weights.append(weight)
            self.indices.append([list(sources).index(source) for source in chosen])
            self.losses.append(LOSSES[name](sampling_rate) if name in _OF_A_RATE else LOSSES[name]())

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        """Estimates and labels (B, K, C, T) and their mixture (B, C, T) → the loss, a scalar."""
        with torch.autocast(estimates.device.type, enabled=False):
            estimates, labels, mixture = estimates.float(), labels.float(), mixture.float()
            return sum(
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
