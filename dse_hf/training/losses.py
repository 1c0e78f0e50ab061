"""Losses between estimated and true sources: `loss(estimates, labels, mixture)` → a number.

Estimates and labels are (B, S, C, T), of some or all sources; the mixture is (B, C, T).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pesq_loss import PESQLoss


class MSELoss(nn.Module):
    """Mean squared error, the loss of the Wave-U-Net paper (section 4.2)."""

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        return F.mse_loss(estimates, labels)


class L1Loss(nn.Module):
    """Mean absolute error."""

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        return F.l1_loss(estimates, labels)


class SISDRLoss(nn.Module):
    """Minus the scale-invariant SDR in dB (Le Roux et al. 2019, equation 5), at most `ceiling_db` each.

    Sources that are silent have none and do not count.
    """

    def __init__(self, ceiling_db: float = 50.0):
        super().__init__()
        self.floor = 10 ** (-ceiling_db / 10)

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        label_energy = labels.square().sum(dim=-1, keepdim=True)
        target = labels * (estimates * labels).sum(dim=-1, keepdim=True) / label_energy.clamp_min(1e-12)
        target_energy = target.square().sum(dim=-1)
        error_energy = (estimates - target).square().sum(dim=-1)
        audible = label_energy.squeeze(-1) > 1e-8
        # Equal weights in numerator and denominator keep the gradient finite where either is zero.
        energy = target_energy + error_energy
        ratio = (target_energy + self.floor * energy + 1e-12) / (error_energy + self.floor * energy + 1e-12)
        si_sdr = 10 * torch.log10(ratio)
        return -(si_sdr * audible).sum() / audible.sum().clamp_min(1)


class MixtureSNRLoss(nn.Module):
    """Error energy of a source against the mixture's energy, in dB, with a soft floor.

    10·log10(|s - ŝ|² / |x|² + τ): the thresholded SNR of Wisdom et al. 2020 (MixIT, equation 2) taken against the
    mixture x instead of the source, so that it is defined for silent sources and the same at any level.
    """

    def __init__(self, floor_db: float = -30.0):
        super().__init__()
        self.floor = 10 ** (floor_db / 10)

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        mixture_energy = mixture[:, None].square().sum(dim=-1).clamp_min(1e-8)
        error_energy = (estimates - labels).square().sum(dim=-1)
        return 10 * torch.log10(error_energy / mixture_energy + self.floor).mean()


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance at three resolutions (Yamamoto et al. 2020, section 2.2).

    Signals are taken relative to the mixture's RMS first, and magnitudes below `floor` do not count, so that quiet
    clips weigh as much as loud ones and inaudible bins do not weigh at all.
    """

    def __init__(self, n_ffts: tuple[int, ...] = (256, 512, 1024), floor: float = 0.05):
        super().__init__()
        self.n_ffts, self.floor = n_ffts, floor

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
            .square().sum(dim=-1).clamp_min(self.floor**2).sqrt().flatten(1)
            for x in (estimates, labels)
        )  # fmt: skip
        # Of every signal by itself, so that a batch's loss is the mean of its parts' losses. Silence counts as a
        # source 20 dB below the mixture, or one clip of noise alone would outweigh the batch.
        quiet = 0.1 * (window.square().sum() * true.shape[1]).sqrt()
        convergence = (estimated - true).norm(dim=1) / true.norm(dim=1).clamp_min(quiet)
        return convergence.mean() + F.l1_loss(estimated.log(), true.log())


class STOILoss(nn.Module):
    """Minus the short-time objective intelligibility.

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

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        estimates, labels = (self._frames(signal.flatten(0, -2)) for signal in (estimates, labels))
        if labels.shape[1] < self.SEGMENT:
            return 0 * estimates.sum()
        energy = labels.square().sum(dim=-1)  # (N, frames)
        loudest = energy.amax(dim=-1, keepdim=True)
        audible = energy > loudest * 10 ** (-self.DYNAMIC_RANGE_DB / 10) + 1e-7
        # All signals at once: the audible frames come first, in order, and segments that reach beyond do not count.
        most = max(int(audible.sum(dim=-1).max()), self.SEGMENT)
        order = torch.argsort(~audible, dim=-1, stable=True)[:, :most, None].expand(-1, -1, self.frame_length)
        estimates, labels = (self._segments(frames.gather(1, order)) for frames in (estimates, labels))
        scores = self._extended(estimates, labels) if self.extended else self._plain(estimates, labels)  # (N, S)
        segments = audible.sum(dim=-1) - self.SEGMENT + 1  # of every signal
        counts = torch.arange(scores.shape[1], device=scores.device) < segments[:, None]
        scores = (scores * counts).sum(dim=-1) / segments.clamp_min(1)
        return -scores.sum() / (segments > 0).sum().clamp_min(1)

    def _frames(self, signals: Tensor) -> Tensor:
        """(N, T) → (N, frames, frame length), with a Hann window."""
        signals = F.pad(signals, (0, max(self.frame_length - signals.shape[-1], 0)))
        frames = signals.unfold(-1, self.frame_length, self.frame_length // 2)
        return frames * torch.hann_window(self.frame_length, device=signals.device)

    def _segments(self, frames: Tensor) -> Tensor:
        """(N, frames, frame length) → band amplitudes of all stretches of 30 frames, (N, S, 15, 30)."""
        power = torch.view_as_real(torch.fft.rfft(frames, self.n_fft)).square().sum(dim=-1)
        amplitudes = (power @ self.bands.T + 1e-8).sqrt()  # (N, frames, 15)
        return amplitudes.unfold(1, self.SEGMENT, 1)

    def _plain(self, estimates: Tensor, labels: Tensor) -> Tensor:
        gain = labels.norm(dim=-1, keepdim=True) / estimates.norm(dim=-1, keepdim=True)
        ceiling = labels * (1 + 10 ** (-self.LOWEST_SDR_DB / 20))
        return _correlation(torch.minimum(estimates * gain, ceiling), labels, dim=-1).mean(dim=-1)

    def _extended(self, estimates: Tensor, labels: Tensor) -> Tensor:
        estimates, labels = (_standardize(signal, dim=-1) for signal in (estimates, labels))
        return _correlation(estimates, labels, dim=-2).mean(dim=-1)


def _standardize(values: Tensor, dim: int) -> Tensor:
    """Zero mean and unit norm along `dim`."""
    values = values - values.mean(dim=dim, keepdim=True)
    return values / (values.square().sum(dim=dim, keepdim=True) + 1e-8).sqrt()


def _correlation(first: Tensor, second: Tensor, dim: int) -> Tensor:
    return (_standardize(first, dim) * _standardize(second, dim)).sum(dim=dim)


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
