"""Losses between estimated and true sources, all (B, K, C, T) → a number."""

from functools import partial

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


class STOILoss(nn.Module):
    """Minus the short-time objective intelligibility of the sources but the last.

    STOI (Taal et al. 2011, section II) and, with `extended`, ESTOI (Jensen & Taal 2016, section II), except that
    frames of the same duration are taken at the signal's own rate instead of 10 kHz. Signals with less than 0.4
    seconds that are no silence do not count. Values are from -1 (perfect) to 0 or above.

    Args:
        sampling_rate (`int`): of the signals, in Hz, at least 10000.
        extended (`bool`): ESTOI instead of STOI.
    """

    BANDS, LOWEST_BAND, SEGMENT, DYNAMIC_RANGE_DB, LOWEST_SDR_DB = 15, 150.0, 30, 40.0, -15.0

    def __init__(self, sampling_rate: int = 16000, extended: bool = False):
        super().__init__()
        if sampling_rate < 10000:
            raise ValueError(f"sampling_rate={sampling_rate}: STOI has bands up to 4.3 kHz; train at 10000 Hz or more")
        self.extended = extended
        self.frame_length = round(0.0256 * sampling_rate)
        self.n_fft = 2 * self.frame_length
        frequencies = torch.fft.rfftfreq(self.n_fft, 1 / sampling_rate)
        centres = self.LOWEST_BAND * 2 ** (torch.arange(self.BANDS) / 3)
        low, high = centres * 2 ** (-1 / 6), centres * 2 ** (1 / 6)
        bands = (frequencies >= low[:, None]) & (frequencies < high[:, None])
        self.register_buffer("bands", bands.float(), persistent=False)  # (15, n_fft // 2 + 1)

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        estimates, labels = (self._frames(signal[:, :-1].flatten(0, -2)) for signal in (estimates, labels))
        scores = [self._score(*pair) for pair in zip(estimates, labels)]
        scores = [score for score in scores if score is not None]
        return -torch.stack(scores).mean() if scores else 0 * estimates.sum()

    def _frames(self, signals: Tensor) -> Tensor:
        """(N, T) → (N, frames, frame length), with a Hann window."""
        signals = F.pad(signals, (0, max(self.frame_length - signals.shape[-1], 0)))
        frames = signals.unfold(-1, self.frame_length, self.frame_length // 2)
        return frames * torch.hann_window(self.frame_length, device=signals.device)

    def _score(self, estimate: Tensor, label: Tensor) -> Tensor | None:
        energy = label.square().sum(dim=-1)
        audible = energy > energy.max() * 10 ** (-self.DYNAMIC_RANGE_DB / 10) + 1e-7
        if audible.sum() < self.SEGMENT:
            return None
        estimate, label = self._segments(estimate[audible]), self._segments(label[audible])
        return self._extended(estimate, label) if self.extended else self._plain(estimate, label)

    def _segments(self, frames: Tensor) -> Tensor:
        """(frames, frame length) → band amplitudes of all stretches of 30 frames, (S, 15, 30)."""
        power = torch.view_as_real(torch.fft.rfft(frames, self.n_fft)).square().sum(dim=-1)
        amplitudes = (power @ self.bands.T.to(power.device) + 1e-8).sqrt()  # (frames, 15)
        return amplitudes.unfold(0, self.SEGMENT, 1)

    def _plain(self, estimates: Tensor, labels: Tensor) -> Tensor:
        gain = labels.norm(dim=-1, keepdim=True) / estimates.norm(dim=-1, keepdim=True)
        ceiling = labels * (1 + 10 ** (-self.LOWEST_SDR_DB / 20))
        return _correlation(torch.minimum(estimates * gain, ceiling), labels, dim=-1).mean()

    def _extended(self, estimates: Tensor, labels: Tensor) -> Tensor:
        estimates, labels = (_standardize(signal, dim=-1) for signal in (estimates, labels))
        return _correlation(estimates, labels, dim=-2).mean()


def _standardize(values: Tensor, dim: int) -> Tensor:
    """Zero mean and unit norm along `dim`."""
    values = values - values.mean(dim=dim, keepdim=True)
    return values / (values.square().sum(dim=dim, keepdim=True) + 1e-8).sqrt()


def _correlation(first: Tensor, second: Tensor, dim: int) -> Tensor:
    return (_standardize(first, dim) * _standardize(second, dim)).sum(dim=dim)


LOSSES = {
    "mse": MSELoss,
    "l1": L1Loss,
    "mixture_snr": MixtureSNRLoss,
    "multi_resolution_stft": MultiResolutionSTFTLoss,
    "stoi": STOILoss,
    "estoi": partial(STOILoss, extended=True),
}


class WeightedLoss(nn.Module):
    """Sum of named losses, from terms like `"l1"` or `"multi_resolution_stft:0.5"`, in float32.

    Raises:
        ValueError: an unknown name, or a weight that is no number.
    """

    def __init__(self, terms: list[str], sampling_rate: int = 16000):
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
            self.terms[name] = LOSSES[name](sampling_rate) if "stoi" in name else LOSSES[name]()
        if not self.weights:
            raise ValueError(f"losses={terms}: name at least one of {', '.join(LOSSES)}")

    def forward(self, estimates: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(estimates.device.type, enabled=False):
            estimates, labels = estimates.float(), labels.float()
            return sum(weight * self.terms[name](estimates, labels) for name, weight in self.weights.items())
