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


class BandSNRLoss(nn.Module):
    """Error energy of a source against the mixture's energy in each of several frequency bands, in dB: their mean.

    10·log10((|S - Ŝ|² + ε) / (|X|² + ε)), where the energies are those of a band of the Fourier transforms of the
    whole signals. This is `MixtureSNRLoss` for each band, so that faint high frequencies count as much as loud low
    ones. ε is 30 dB below the mixture's energy in the band, plus 60 dB below that in all bands: a band in which the
    mixture has nearly nothing does not count.
    """

    EDGES_HZ = (1000.0, 2000.0, 4000.0, 6000.0, 8000.0, 12000.0, 16000.0)  # between the bands
    FLOOR, FLOOR_OF_ALL = 10 ** (-30 / 10), 10 ** (-60 / 10)

    def __init__(self, sampling_rate: int = 16000):
        super().__init__()
        self.sampling_rate = sampling_rate
        self.edges = [edge for edge in self.EDGES_HZ if edge < 0.45 * sampling_rate]

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        error, energy = self._energies(estimates - labels), self._energies(mixture[:, None])  # (B, S, C, bands)
        all_bands = energy.sum(dim=-1, keepdim=True).clamp_min(1e-8)
        floor = self.FLOOR * energy + self.FLOOR_OF_ALL * all_bands
        return 10 * torch.log10((error + floor) / (energy + floor)).mean()

    def _energies(self, signals: Tensor) -> Tensor:
        """Signals (…, T) → the energies of their bands, (…, bands)."""
        length = signals.shape[-1]
        power = torch.view_as_real(torch.fft.rfft(signals)).square().sum(dim=-1) / length
        bins = [round(edge * length / self.sampling_rate) for edge in self.edges]
        return torch.stack([band.sum(dim=-1) for band in power.tensor_split(bins, dim=-1)], dim=-1)
