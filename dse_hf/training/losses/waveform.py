"""Losses on waveforms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MSELoss(nn.Module):
    """Mean squared error, the loss of the Wave-U-Net paper (section 4.2)."""

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        return F.mse_loss(estimates, labels)


class L1Loss(nn.Module):
    """Mean absolute error."""

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        return F.l1_loss(estimates, labels)


class SISDRLoss(nn.Module):
    """Minus the scale-invariant SDR in dB (Le Roux et al. 2019, equation 5), limited to 50 dB.

    Silent sources have no SDR and do not count.
    """

    FLOOR = 10 ** (-50 / 10)  # It limits the SDR to 50 dB.

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        label_energy = labels.square().sum(dim=-1, keepdim=True)
        target = labels * (estimates * labels).sum(dim=-1, keepdim=True) / label_energy.clamp_min(1e-12)
        target_energy = target.square().sum(dim=-1)
        error_energy = (estimates - target).square().sum(dim=-1)
        audible = label_energy.squeeze(-1) > 1e-8
        # The same constants in numerator and denominator keep the gradient finite if one of them is zero.
        energy = target_energy + error_energy
        ratio = (target_energy + self.FLOOR * energy + 1e-12) / (error_energy + self.FLOOR * energy + 1e-12)
        si_sdr = 10 * torch.log10(ratio)
        return -(si_sdr * audible).sum() / audible.sum().clamp_min(1)


class MixtureSNRLoss(nn.Module):
    """Error energy of a source against the mixture's energy, in dB, with a soft floor.

    10·log10(|s - ŝ|² / |x|² + τ): the thresholded SNR of Wisdom et al. 2020 (MixIT, equation 2), relative to the
    mixture x instead of the source. So it is defined for silent sources and does not depend on the level.
    """

    FLOOR = 10 ** (-30 / 10)

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        mixture_energy = mixture[:, None].square().sum(dim=-1).clamp_min(1e-8)
        error_energy = (estimates - labels).square().sum(dim=-1)
        return 10 * torch.log10(error_energy / mixture_energy + self.FLOOR).mean()
