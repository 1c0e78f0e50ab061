"""Losses that approximate the short-time objective intelligibility (STOI and ESTOI)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class STOILoss(nn.Module):
    """Minus the short-time objective intelligibility.

    STOI (Taal et al. 2011, section II) or, with `extended`, ESTOI (Jensen & Taal 2016, section II). The frames have
    the same duration, but the signals keep their own rate instead of 10 kHz. Signals with less than 0.4 seconds of
    sound do not count. Values are from -1 (perfect) to 0 or above.
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
        # All signals at once: the audible frames are moved to the front. Segments with other frames do not count.
        most = max(int(audible.sum(dim=-1).max()), self.SEGMENT)
        order = torch.argsort(~audible, dim=-1, stable=True)[:, :most, None].expand(-1, -1, self.frame_length)
        estimates, labels = (self._segments(frames.gather(1, order)) for frames in (estimates, labels))
        scores = self._extended(estimates, labels) if self.extended else self._plain(estimates, labels)  # (N, S)
        segments = audible.sum(dim=-1) - self.SEGMENT + 1  # Number of segments of each signal.
        counts = torch.arange(scores.shape[1], device=scores.device) < segments[:, None]
        scores = (scores * counts).sum(dim=-1) / segments.clamp_min(1)
        return -scores.sum() / (segments > 0).sum().clamp_min(1)

    def _frames(self, signals: Tensor) -> Tensor:
        """(N, T) → (N, frames, frame length), with a Hann window."""
        signals = F.pad(signals, (0, max(self.frame_length - signals.shape[-1], 0)))
        frames = signals.unfold(-1, self.frame_length, self.frame_length // 2)
        return frames * torch.hann_window(self.frame_length, device=signals.device)

    def _segments(self, frames: Tensor) -> Tensor:
        """(N, frames, frame length) → band amplitudes of all segments of 30 frames, (N, S, 15, 30)."""
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
