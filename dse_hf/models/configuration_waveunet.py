"""Configuration of the Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185)."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .configuration_waveunet_architecture import WaveUNetFields


# The variants of the paper's section 4.2 and Table 2, by the fields that differ from the defaults of `WaveUNetConfig`.
_M1 = {"sources": ["vocals", "accompaniment"], "output": "direct", "padding": "same", "sampling_rate": 22050}
_M2 = {**_M1, "output": "difference"}
_M3 = {**_M2, "padding": "valid"}
_M4 = {**_M3, "channels": 2}
_M5 = {**_M4, "upsampling": "learned"}
PAPER_VARIANTS: dict[str, dict[str, Any]] = {
    "M1": _M1,
    "M2": _M2,
    "M3": _M3,
    "M4": _M4,
    "M5": _M5,
    "M5-HighSR": {**_M5, "sampling_rate": 44100},
    "M6": {**_M4, "sources": ["bass", "drums", "other", "vocals"]},
    "M7": {**_M3, "channel_growth": 34, "sampling_rate": 8192},
}


@strict
class WaveUNetConfig(WaveUNetFields, PreTrainedConfig):
    r"""
    Configuration of a [`WaveUNetModel`]. The names of libdse and of the paper (`n_layers`, `f_d`, `f_u`, `F_c`)
    work as well, as arguments and as attributes.

    Args:
        num_layers (`int`, *optional*, defaults to 12):
            Number of downsampling blocks, and of upsampling blocks (the paper's L).
        downsampling_kernel_size (`int`, *optional*, defaults to 15):
            Odd kernel size of the downsampling blocks and of the bottleneck (the paper's f_d).
        upsampling_kernel_size (`int`, *optional*, defaults to 5):
            Odd kernel size of the upsampling blocks (the paper's f_u).
        channel_growth (`int`, *optional*, defaults to 24):
            Block k has `k * channel_growth` channels (the paper's F_c).
        channels (`int`, *optional*, defaults to 1):
            Audio channels that are separated together: 1 mono, 2 stereo.
        sources (`list[str]`, *optional*, defaults to `["foreground", "background"]`):
            Names of the K sources, in the order of the output.
        output (`"difference"` or `"direct"`, *optional*, defaults to `"difference"`):
            `"difference"` predicts K-1 sources, the last is what is left of the mixture (section 3.2.2);
            `"direct"` predicts all K.
        padding (`"valid"` or `"same"`, *optional*, defaults to `"valid"`):
            `"valid"` convolves real input only, so that the output is shorter than the input (section 3.2.3);
            `"same"` pads every convolution with zeros, as libdse's checkpoints do.
        upsampling (`"linear"` or `"learned"`, *optional*, defaults to `"linear"`):
            Linear interpolation, or a weight per channel between the two neighbours (section 3.2.1).
        output_activation (`"tanh"` or `"linear"`, *optional*, defaults to `"tanh"`):
            Activation of the predicted sources.
        bias (`bool`, *optional*, defaults to `True`):
            Whether the convolutions have biases. Without them, and with `output_activation="linear"`, a recording of
            twice the level gives sources of exactly twice the level, and silence stays silent (Mohan et al. 2020,
            "Robust and interpretable blind image denoising via bias-free convolutional neural networks").
        bands (`int`, *optional*, defaults to 1):
            With M > 1 bands, a fixed filter bank splits every channel into M bands, each at `sampling_rate / M`. The
            network sees them as channels, and the same bank puts its output together. So `bands=3` at 48 kHz costs
            what the network costs at 16 kHz. See [`FilterBank`]. Not in the paper.
        average_polarity_flip (`bool`, *optional*, defaults to `False`):
            Whether the negative of the mixture goes through the network too, and the sources are the average of both
            results: slightly better quality in twice the time. Not used in training, and not in the paper. The old
            name `both_polarities` works.
        sampling_rate (`int`, *optional*, defaults to 16000):
            Sampling rate of the audio in Hz.

    Raises:
        StrictDataclassError (huggingface_hub.errors): a field has the wrong type, or a value that no network can
            be built of; the message names both.
    """

    model_type = "waveunet"
    attribute_map = WaveUNetFields.attribute_map

    @classmethod
    def paper(cls, variant: str, **kwargs) -> "WaveUNetConfig":
        """The paper's variant `"M1"` … `"M7"` or `"M5-HighSR"` (section 4.2); `kwargs` override its fields.

        M1 baseline, M2 + difference output, M3 + input context (valid convolutions), M4 + stereo, M5 + learned
        upsampling, M5-HighSR at 44.1 kHz, M6 four instruments, M7 for the comparison with the spectrogram U-Net.
        The paper predicts the accompaniment first; here the vocals are first, because `foreground` is the first.
        """
        if variant not in PAPER_VARIANTS:
            raise ValueError(f"variant={variant!r}: the paper has {', '.join(PAPER_VARIANTS)}")
        return cls(**{**PAPER_VARIANTS[variant], **kwargs})


WaveUNetConfig.register_for_auto_class()

__all__ = ["WaveUNetConfig"]
