"""Waveforms of any kind → the padded batches that a Wave-U-Net takes."""

from collections.abc import Sequence

import numpy as np
from transformers import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import PaddingStrategy, TensorType, logging


logger = logging.get_logger(__name__)


def check_sampling_rate(extractor: SequenceFeatureExtractor, sampling_rate: int | None) -> None:
    """Raises a ValueError if audio has another sampling rate than a feature extractor. Warns if it has none."""
    if sampling_rate is None:
        logger.warning_once(
            f"Give `sampling_rate` to {type(extractor).__name__}: without it audio at the wrong rate goes unnoticed."
        )
    elif sampling_rate != extractor.sampling_rate:
        raise ValueError(
            f"sampling_rate={sampling_rate}: this feature extractor takes audio at {extractor.sampling_rate} Hz; "
            "resample it first"
        )


def list_waveforms(raw_audio) -> Sequence:
    """Returns a list of waveforms as it is, and a single waveform as a list of one."""
    is_batch = isinstance(raw_audio, (list, tuple)) and len(raw_audio) and np.ndim(raw_audio[0]) > 0
    return raw_audio if is_batch else [raw_audio]


class WaveformFeatureExtractor(SequenceFeatureExtractor):
    r"""
    Pads raw waveforms to a batch `input_values` of shape (B, channels, T), with a mask `padding_mask` (B, T).

    Args:
        feature_size (`int`, *optional*, defaults to 1): channels of the audio: 1 mono, 2 stereo.
        sampling_rate (`int`, *optional*, defaults to 16000): sampling rate of the audio, in Hz.
        padding_value (`float`, *optional*, defaults to 0.0): value of the padding.
    """

    model_input_names = ["input_values", "padding_mask"]

    def __init__(self, feature_size: int = 1, sampling_rate: int = 16000, padding_value: float = 0.0, **kwargs):
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)

    def __call__(
        self,
        raw_audio: np.ndarray | list[float] | list[np.ndarray] | list[list[float]],
        padding: bool | str | PaddingStrategy | None = None,
        truncation: bool | None = False,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        r"""
        Args:
            raw_audio: one waveform `(T,)` or `(channels, T)`, or a list of them.
            padding, truncation, max_length: as in every feature extractor; by default, pads to the longest.
            return_tensors: `"pt"` or `"np"`.
            sampling_rate: of `raw_audio`, in Hz: give it, so that a wrong one is noticed.

        Raises:
            ValueError: another sampling rate, or another number of channels, than the extractor's.
        """
        check_sampling_rate(self, sampling_rate)
        if padding and truncation:
            raise ValueError("padding and truncation are both set: choose one")
        padding = True if padding is None and not truncation else padding
        waveforms = [self._to_time_first(waveform) for waveform in list_waveforms(raw_audio)]
        padded = self.pad(
            BatchFeature({"input_values": waveforms}),
            max_length=max_length,
            truncation=bool(truncation),
            padding=padding or False,
            return_attention_mask=bool(padding),
        )
        if padding:
            padded["padding_mask"] = padded.pop("attention_mask")
        # (T,) or (T, channels) → (channels, T), the layout of torch's convolutions
        padded["input_values"] = [np.asarray(x, np.float32).reshape(len(x), -1).T for x in padded["input_values"]]
        return padded.convert_to_tensors(return_tensors) if return_tensors is not None else padded

    def _to_time_first(self, waveform) -> np.ndarray:
        """(T,) or (channels, T) → (T,) for mono, (T, channels) otherwise, as `pad` wants it."""
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.ndim == 1:
            waveform = waveform[None]
        if waveform.ndim != 2 or waveform.shape[0] != self.feature_size:
            raise ValueError(f"audio of shape {waveform.shape}: give (samples,) or ({self.feature_size}, samples)")
        return waveform[0] if self.feature_size == 1 else waveform.T


WaveformFeatureExtractor.register_for_auto_class()

__all__ = ["WaveformFeatureExtractor"]
