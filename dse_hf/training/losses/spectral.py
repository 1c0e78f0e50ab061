"""Losses on magnitude spectra."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance at three resolutions (Yamamoto et al. 2020, section 2.2).

    The windows have 16, 32 and 64 ms. Signals are divided by the RMS of the mixture, so that quiet clips count as much
    as loud ones. Magnitudes below `FLOOR` are raised to it, so that inaudible bins do not count.
    """

    WINDOW_SECONDS, FLOOR = (0.016, 0.032, 0.064), 0.05

    def __init__(self, sampling_rate: int = 16000):
        super().__init__()
        self.n_ffts = [4 * round(seconds * sampling_rate / 4) for seconds in self.WINDOW_SECONDS]

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        scale = mixture[:, None].square().mean(dim=-1, keepdim=True).sqrt().clamp_min(1e-4)
        estimates, labels = (
            (signal / scale).flatten(0, -2)  # (B·S·C, T)
            for signal in (estimates, labels)
        )
        return torch.stack([self._distance(estimates, labels, n_fft) for n_fft in self.n_ffts]).mean()

    def _distance(self, estimates: Tensor, labels: Tensor, n_fft: int) -> Tensor:
        window = torch.hann_window(n_fft, device=labels.device)
        estimated, true = (
            torch.view_as_real(torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True))
            .square().sum(dim=-1).clamp_min(self.FLOOR**2).sqrt().flatten(1)
            for x in (estimates, labels)
        )  # fmt: skip
        # Each signal has its own norm, so that the loss of a batch is the mean of the losses of its parts. A silent
        # source counts as one 20 dB below the mixture. Otherwise one clip without it would outweigh the batch.
        quiet = 0.1 * (window.square().sum() * true.shape[1]).sqrt()
        convergence = (estimated - true).norm(dim=1) / true.norm(dim=1).clamp_min(quiet)
        return convergence.mean() + F.l1_loss(estimated.log(), true.log())
