"""Losses between estimated and true sources, all (B, K, C, T) → a number."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MSELoss(nn.Module):
    """Mean squared error, the loss of the Wave-U-Net paper (section 4.2)."""

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(estimates, labels)


class L1Loss(nn.Module):
    """Mean absolute error."""

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        return F.l1_loss(estimates, labels)


class MixtureSNRLoss(nn.Module):
    """Error energy of a source against the mixture's energy, in dB, with a soft floor.

    10·log10(|s - ŝ|² / |x|² + τ): the thresholded SNR of Wisdom et al. 2020 (MixIT, equation 2) taken against the
    mixture x instead of the source, so that it is defined for silent sources and the same at any level.
    """

    def __init__(self, floor_db: float = -30.0):
        super().__init__()
        self.floor = 10 ** (floor_db / 10)

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        mixture_energy = labels.sum(dim=1, keepdim=True).square().sum(dim=-1).clamp_min(1e-8)
        error_energy = (estimates - labels).square().sum(dim=-1)
        return 10 * torch.log10(error_energy / mixture_energy + self.floor).mean()


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance at three resolutions (Yamamoto et al. 2020, section 2.2).

    Signals are taken relative to the mixture's RMS first, and magnitudes below `floor` do not count, so that quiet
    clips weigh as much as loud ones and inaudible bins do not weigh at all. The last source, the rest of the
    mixture, is left out: the others determine it.
    """

    def __init__(self, n_ffts: tuple[int, ...] = (256, 512, 1024), floor: float = 0.05):
        super().__init__()
        self.n_ffts, self.floor = n_ffts, floor

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        scale = labels.sum(dim=1, keepdim=True).square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-4)
        estimates, labels = (
            (signal[:, :-1] / scale).flatten(0, -2)  # (B·(K-1)·C, T)
            for signal in (estimates, labels)
        )
        return torch.stack([self._distance(estimates, labels, n_fft) for n_fft in self.n_ffts]).mean()

    def _distance(self, estimates: Tensor, labels: Tensor, n_fft: int) -> Tensor:
        window = torch.hann_window(n_fft, device=labels.device)
        estimated, true = (
            torch.view_as_real(torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True))
            .square().sum(dim=-1).clamp_min(self.floor**2).sqrt()
            for x in (estimates, labels)
        )  # fmt: skip
        convergence = (estimated - true).norm() / true.norm()
        return convergence + F.l1_loss(estimated.log(), true.log())


LOSSES = {
    "mse": MSELoss,
    "l1": L1Loss,
    "mixture_snr": MixtureSNRLoss,
    "multi_resolution_stft": MultiResolutionSTFTLoss,
}


class WeightedLoss(nn.Module):
    """Sum of named losses, from terms like `"l1"` or `"multi_resolution_stft:0.5"`, in float32.

    Raises:
        ValueError: an unknown name, or a weight that is no number.
    """

    def __init__(self, terms: list[str]):
        super().__init__()
        self.weights: dict[str, float] = {}
        self.terms = nn.ModuleDict()
        for term in terms:
            name, _, weight = term.partition(":")
            if name not in LOSSES:
                raise ValueError(f"loss {name!r}: choose among {', '.join(LOSSES)}, as in 'l1:1.0'")
            try:
                self.weights[name] = float(weight or 1)
            except ValueError:
                raise ValueError(f"loss {term!r}: the weight must be a number, as in 'l1:0.5'") from None
            self.terms[name] = LOSSES[name]()
        if not self.weights:
            raise ValueError(f"losses={terms}: name at least one of {', '.join(LOSSES)}")

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(estimates.device.type, enabled=False):
            estimates, labels = estimates.float(), labels.float()
            return sum(weight * self.terms[name](estimates, labels) for name, weight in self.weights.items())
