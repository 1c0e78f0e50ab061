"""Waveforms → the log-magnitude frames that the autoencoders take."""

import math
from numbers import Integral

import numpy as np
import torch
from torch import Tensor
from transformers import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import PaddingStrategy, TensorType

from .configuration_dae import check_frames
from .feature_extraction_waveform import check_sampling_rate, list_waveforms


def short_time_spectrum(waveform: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Spectra of Hann-windowed frames that start at multiples of `hop_length`, computed in float32.

    (…, T) → complex (…, frames, n_fft // 2 + 1): `torch.stft(center=False)` with the frames before the bins.
    """
    window = torch.hann_window(n_fft, device=waveform.device)
    return torch.fft.rfft(waveform.float().unfold(-1, n_fft, hop_length) * window)


def log_magnitude(spectrum: Tensor, log_offset: float) -> Tensor:
    """log(|X| + ε), natural: the features of the autoencoders, of the spectrum's shape."""
    return torch.log(spectrum.abs() + log_offset)


class SpectrogramFeatureExtractor(SequenceFeatureExtractor):
    r"""
    Makes log-magnitude frames `input_features` (B, frames, n_fft // 2 + 1) of raw waveforms, and a mask
    `attention_mask` (B, frames) of what is not padding. They are the frames that `separate` makes: every
    sample lies in n_fft / hop_length of them, those at the ends reach into zeros. T samples give
    ⌈T / hop_length⌉ + n_fft / hop_length - 1 frames.

    Args:
        sampling_rate, n_fft, hop_length, log_offset (*optional*): see [`DAEConfig`], with the same defaults.
        padding_value (`float`, *optional*): value of padding frames; by default silence, log(ε).
        feature_size (`int`, *optional*): bins of a frame, `n_fft // 2 + 1`.
        return_attention_mask (`bool`, *optional*, defaults to `True`): whether to return `attention_mask`.

    Raises:
        ValueError: a field is not as above.
    """

    model_input_names = ["input_features", "attention_mask"]

    def __init__(
        self,
        sampling_rate: int = 8000,
        n_fft: int = 256,
        hop_length: int = 128,
        log_offset: float = 1e-8,
        padding_value: float | None = None,
        feature_size: int | None = None,
        return_attention_mask: bool = True,
        **kwargs,
    ):
        for field, value in (("sampling_rate", sampling_rate), ("n_fft", n_fft), ("hop_length", hop_length)):
            if not isinstance(value, Integral):
                raise ValueError(f"{field}={value!r}: must be a whole number")
        check_frames(n_fft, hop_length, log_offset)
        bins = n_fft // 2 + 1
        if feature_size not in (None, bins):
            raise ValueError(f"feature_size={feature_size}: frames of n_fft={n_fft} samples have {bins} bins")
        super().__init__(
            feature_size=bins,
            sampling_rate=sampling_rate,
            padding_value=math.log(log_offset) if padding_value is None else padding_value,
            return_attention_mask=return_attention_mask,
            **kwargs,
        )
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.log_offset = log_offset

    def __call__(
        self,
        raw_audio: np.ndarray | Tensor | list[float] | list[np.ndarray] | list[Tensor] | list[list[float]],
        padding: bool | str | PaddingStrategy = True,
        truncation: bool = False,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        r"""
        Args:
            raw_audio: one waveform `(T,)` or `(channels, T)` of floats, or a list of them. The models are
                mono: every channel becomes one item of the batch.
            padding, truncation, max_length, pad_to_multiple_of: as in every feature extractor, in frames; by
                default, pads to the longest.
            return_attention_mask: overrides the extractor's default.
            return_tensors, sampling_rate: see [`WaveformFeatureExtractor`].

        Raises:
            ValueError: another sampling rate than the extractor's; audio that is empty, of another shape, or
                not floating-point.
        """
        check_sampling_rate(self, sampling_rate)
        waveforms = list_waveforms(raw_audio)
        frames = [self._frames(channel) for waveform in waveforms for channel in self._channels(waveform)]
        return self.pad(
            BatchFeature({"input_features": frames}),
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )

    def _channels(self, waveform) -> Tensor:
        """(T,) or (channels, T) of any kind → (channels, T)."""
        waveform = torch.as_tensor(waveform).detach().cpu()
        if waveform.dim() not in (1, 2) or waveform.numel() == 0:
            raise ValueError(
                f"audio of shape {tuple(waveform.shape)}: give (samples,) or (channels, samples), not empty"
            )
        if not waveform.is_floating_point():
            raise ValueError(f"audio of dtype {waveform.dtype}: give floats of full scale ±1 (int16: divide by 32768)")
        return waveform if waveform.dim() == 2 else waveform[None]

    def _frames(self, waveform: Tensor) -> np.ndarray:
        """(T,) → log-magnitudes (frames, bins) of all frames that a sample lies in."""
        reach = self.n_fft - self.hop_length
        waveform = torch.nn.functional.pad(waveform, (reach, reach + -waveform.shape[-1] % self.hop_length))
        spectrum = short_time_spectrum(waveform, self.n_fft, self.hop_length)
        return log_magnitude(spectrum, self.log_offset).numpy()


SpectrogramFeatureExtractor.register_for_auto_class()

__all__ = ["SpectrogramFeatureExtractor"]
