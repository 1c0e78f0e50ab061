"""A loss that approximates the perceptual evaluation of speech quality (PESQ, ITU-T P.862)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PESQLoss(nn.Module):
    """Minus the quality of speech on the scale of PESQ: -4.5 is perfect, larger is worse.

    This is the perceptual model of ITU-T P.862 (level, Bark spectra, compensation of filter and gain, loudness,
    symmetric and asymmetric disturbance) in a form that has gradients, as in Martín-Doñas et al. 2018. It is not PESQ
    itself: signals must be aligned in time, the telephone filters are left out, and Bark bands and hearing threshold
    come from formulas (Traunmüller 1990; Terhardt 1979) instead of the tables of the standard.

    Speech that is silent, or shorter than ten frames of 32 ms, does not count.
    """

    BANDS, LOWEST_HZ, HIGHEST_HZ = 49, 80.0, 7800.0
    LEVEL_DB_SPL = 79.0  # Level of speech at the ear.
    EXPONENT = 0.23  # Exponent of loudness as a function of power (Zwicker's law).
    DISTURBANCE_SCALE = 2.6  # Fitted to the `pesq` package on noisy, processed and nearly clean speech.
    SECONDS_FRAMES, SECONDS_STEP = 20, 10  # Length and step of the stretches in which the worst frames dominate.

    def __init__(self, sampling_rate: int = 16000):
        super().__init__()
        if sampling_rate < 8000:
            raise ValueError(f"sampling_rate={sampling_rate}: PESQ needs speech at 8000 Hz or more")
        self.frame_length = round(0.032 * sampling_rate)
        frequencies = torch.fft.rfftfreq(self.frame_length, 1 / sampling_rate)
        highest = min(self.HIGHEST_HZ, 0.49 * sampling_rate)
        edges = torch.linspace(_bark(torch.tensor(self.LOWEST_HZ)), _bark(torch.tensor(highest)), self.BANDS + 1)
        hertz = 1960 * (edges + 0.53) / (26.28 - edges)
        # The share of each frequency bin that falls into each band.
        half = sampling_rate / self.frame_length / 2
        overlap = torch.minimum(frequencies + half, hertz[1:, None]) - torch.maximum(
            frequencies - half, hertz[:-1, None]
        )
        self.register_buffer("bands", overlap.clamp_min(0) / (2 * half), persistent=False)  # (49, bins)
        centres = (hertz[1:] + hertz[:-1]) / 2
        self.register_buffer("threshold", 10 ** (_hearing_threshold_db(centres) / 10), persistent=False)
        speech = (frequencies >= 300) & (frequencies <= 3300)
        self.register_buffer("speech_bins", speech.float(), persistent=False)
        self.band_width = float(edges[1] - edges[0])  # In Bark.
        self.loudness_of_one = 1 / self._specific_loudness(torch.tensor(1e4), torch.tensor(2.0)).item()

    def forward(self, estimates: Tensor, labels: Tensor, mixture: Tensor) -> Tensor:
        estimates, labels = (signal.flatten(0, -2) for signal in (estimates, labels))  # (N, T)
        audible = labels.square().mean(dim=-1) > 1e-8
        if not audible.any() or labels.shape[-1] < 10 * self.frame_length:
            return 0 * estimates.sum()
        # Estimate and truth are scaled by the same level. Otherwise the gradient of a faint estimate has no bound.
        level = self._level(labels[audible])
        estimated, true = (self._power(signals[audible]) @ self.bands.T / level for signals in (estimates, labels))
        true = true * self._filter_gain(estimated, true)[:, None]
        estimated = estimated * self._frame_gain(estimated, true)[..., None]
        difference = self._loudness(estimated) - self._loudness(true)
        symmetric, asymmetric = self._disturbances(difference, estimated, true)
        return (0.1 * self._over_time(symmetric) + 0.0309 * self._over_time(asymmetric)).mean() - 4.5

    def _power(self, signals: Tensor) -> Tensor:
        """(N, T) → (N, frames, bins)."""
        frames = signals.unfold(-1, self.frame_length, self.frame_length // 2)
        window = torch.hann_window(self.frame_length, device=signals.device)
        return torch.view_as_real(torch.fft.rfft(frames * window)).square().sum(dim=-1)

    def _level(self, signals: Tensor) -> Tensor:
        """The power that is heard as 0 dB SPL, (N, 1, 1)."""
        power = (self._power(signals) @ self.speech_bins).mean(dim=-1)[:, None, None]
        return (power + 1e-10) / 10 ** (self.LEVEL_DB_SPL / 10)

    def _filter_gain(self, estimated: Tensor, true: Tensor) -> Tensor:
        """The constant filter in the estimate, which listeners get used to, (N, 49)."""
        speaking = (true.sum(dim=-1, keepdim=True) > 1e3 * self.threshold.mean()).float()
        ratio = ((estimated * speaking).mean(dim=1) + 1e3) / ((true * speaking).mean(dim=1) + 1e3)
        return ratio.clamp(0.01, 100)

    def _frame_gain(self, estimated: Tensor, true: Tensor) -> Tensor:
        """The gain that compensates slow changes of level, (N, frames)."""
        ratio = (true.sum(dim=-1) + 5e3) / (estimated.sum(dim=-1) + 5e3)
        past = torch.stack([F.pad(ratio, (delay, 0), value=1.0)[:, : ratio.shape[1]] for delay in range(4)])
        share = torch.tensor([0.8, 0.16, 0.032, 0.008], device=ratio.device)
        return torch.einsum("d,dnf->nf", share, past).clamp(3e-4, 5)

    def _specific_loudness(self, power: Tensor, threshold: Tensor) -> Tensor:
        scale = (2 * threshold) ** self.EXPONENT
        return scale * ((0.5 + 0.5 * power / threshold) ** self.EXPONENT - 1)

    def _loudness(self, power: Tensor) -> Tensor:
        """Loudness in sones per Bark; 0 below the threshold of hearing."""
        return self.loudness_of_one * self._specific_loudness(torch.maximum(power, self.threshold), self.threshold)

    def _disturbances(self, difference: Tensor, estimated: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """The disturbance of each frame by all differences, and by added sound alone, (N, frames) each."""
        dead_zone = 0.25 * torch.minimum(self._loudness(estimated), self._loudness(true))
        heard = self.DISTURBANCE_SCALE * F.relu(difference.abs() - dead_zone)
        factor = ((estimated + 50) / (true + 50)) ** 1.2
        factor = torch.where(factor < 3, 0, factor.clamp(max=12)).detach()
        total = self.band_width * self.BANDS
        # The small constant keeps the gradient of the root finite.
        symmetric = ((heard * self.band_width).square().sum(dim=-1) / total + 1e-8).sqrt() * total
        asymmetric = (heard * factor * self.band_width).sum(dim=-1)
        weight = ((true.sum(dim=-1) + 1e5) / 1e7) ** 0.04  # Pauses count more.
        return (symmetric / weight).clamp(max=45), (asymmetric / weight).clamp(max=45)

    def _over_time(self, disturbance: Tensor) -> Tensor:
        """(N, frames) → (N,): the norm of order 6 over a third of a second, then of order 2 over all of these."""
        length = min(self.SECONDS_FRAMES, disturbance.shape[-1])
        windows = disturbance.unfold(-1, length, self.SECONDS_STEP) + 1e-3
        return windows.pow(6).mean(dim=-1).pow(1 / 6).square().mean(dim=-1).sqrt()


def _bark(hertz: Tensor) -> Tensor:
    return 26.81 * hertz / (1960 + hertz) - 0.53


def _hearing_threshold_db(hertz: Tensor) -> Tensor:
    """The threshold of hearing in quiet, in dB SPL."""
    kilohertz = hertz / 1000
    return 3.64 * kilohertz**-0.8 - 6.5 * torch.exp(-0.6 * (kilohertz - 3.3) ** 2) + 1e-3 * kilohertz**4
