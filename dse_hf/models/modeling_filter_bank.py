"""A cosine-modulated filter bank, with which a network at a low frame rate hears a signal of full band.

The bank splits a signal into M bands of equal width, each with an M-th of the samples, and puts the bands together
again (Vaidyanathan 1993, "Multirate systems and filter banks", chapter 8). Band k is

    h_k[n] = 2 p[n] cos(π/M (k + ½) n + (-1)^k π/4),  -16 M ≤ n ≤ 16 M,

where p is a low-pass filter of π / 2M: a sinc in a Kaiser window (Lin and Vaidyanathan 1998). The filters of the
synthesis are those of the analysis, reversed. Both together have no delay, and reconstruct within -65 dB.

The filters run on frames. Frame j has the samples M j … M j + M - 1 of a channel, as M channels; so each half of the
bank is one convolution of 33 taps.
"""

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .modeling_separation import center_crop


REACH = 16  # frames on each side of a frame that one half of the bank needs
WINDOW_SHAPE = 8.5  # of the Kaiser window (its β)
CUTOFF = 1.064  # of the low-pass filter, in units of π / 2M: the best reconstruction for this window, for every M


@functools.lru_cache(maxsize=8)
def frame_kernels(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernels of analysis and synthesis on frames, (M bands, M samples, 33) and (M samples, M bands, 33)."""
    times = np.arange(-REACH * bands, REACH * bands + 1)
    cutoff = CUTOFF / (2 * bands)
    low_pass = cutoff * np.sinc(cutoff * times) * np.kaiser(len(times), WINDOW_SHAPE)
    band = np.arange(bands)[:, None]
    phases = np.pi / bands * (band + 0.5) * times + (-1.0) ** band * np.pi / 4
    filters = 2 * low_pass * np.cos(phases)  # (M, 32 M + 1), the first at time -16 M
    # Band j takes its frame's sample t by the filter's value at time -t, and gives it back by the same value.
    shifts = np.arange(-REACH, REACH + 1)[:, None] * bands + np.arange(bands)  # t, (33, M)
    inside = np.abs(shifts) <= REACH * bands
    values = np.where(inside, filters[:, np.clip(-shifts, times[0], times[-1]) - times[0]], 0.0)  # (M, 33, M)
    analysis = values.transpose(0, 2, 1)
    synthesis = bands * analysis[..., ::-1].transpose(1, 0, 2)
    return analysis, np.ascontiguousarray(synthesis)


class FilterBank:
    """Splits channels into M bands, and puts predicted bands together. It has no parameters and no state.

        bank = FilterBank(3, zero_padded=True)
        frames = bank.frames_of(mixture)            # (B, C, T) → (B, C·M, n), n = T / M, rounded up
        bands = bank.split(frames)                  # (B, C·M, n): bands of the first channel, then of the next
        bank.waveforms_of(bank.join(bands))         # (B, C, M·n), the mixture

    Args:
        bands (`int`): number M of bands.
        zero_padded (`bool`): whether zeros count as samples beyond both ends. Otherwise both halves of the bank make
            the signal 32 frames shorter, as `padding="valid"` of a convolution.
    """

    def __init__(self, bands: int, zero_padded: bool):
        self.bands, self.padding = bands, REACH if zero_padded else 0

    def frames_of(self, waveforms: Tensor) -> Tensor:
        """(B, C, T) → frames (B, C·M, n). Zeros fill up the last one."""
        waveforms = F.pad(waveforms, (0, -waveforms.shape[-1] % self.bands))
        return waveforms.unflatten(-1, (-1, self.bands)).transpose(-1, -2).flatten(1, 2)

    def waveforms_of(self, frames: Tensor) -> Tensor:
        """Frames (…, C·M, n) → (…, C, M·n)."""
        return frames.unflatten(-2, (-1, self.bands)).transpose(-1, -2).flatten(-2)

    def split(self, frames: Tensor) -> Tensor:
        """Frames of waveforms (B, C·M, n) → their bands (B, C·M, n)."""
        return self._convolve(frames, frame_kernels(self.bands)[0])

    def join(self, bands: Tensor) -> Tensor:
        """Bands (B, C·M, n) → frames of waveforms (B, C·M, n)."""
        return self._convolve(bands, frame_kernels(self.bands)[1])

    def join_predicted(self, predicted: Tensor, bands: Tensor, frames: Tensor) -> Tensor:
        """Makes waveforms (B, P, C, M·n') of predicted bands (B, P, C·M, n') of a mixture with these bands and frames.

        What the bank does not reconstruct goes to the first source. So a recording of which nothing is taken out
        stays exactly what it was: the first source is the mixture without the bands that were taken out of it.
        """
        batch, sources = predicted.shape[:2]
        removed = center_crop(bands, predicted.shape[-1]) - predicted[:, 0]
        joined = self.join(torch.cat([-removed[:, None], predicted[:, 1:]], dim=1).flatten(0, 1))
        joined = joined.unflatten(0, (batch, sources))
        first = center_crop(frames, joined.shape[-1]) + joined[:, 0]
        return self.waveforms_of(torch.cat([first[:, None], joined[:, 1:]], dim=1))

    def _convolve(self, frames: Tensor, kernel: np.ndarray) -> Tensor:
        weight = torch.from_numpy(kernel).to(frames.device, frames.dtype)
        groups = frames.shape[1] // self.bands
        with torch.autocast(frames.device.type, enabled=False):  # half precision is for the network
            return F.conv1d(frames, weight.repeat(groups, 1, 1), padding=self.padding, groups=groups)
