"""The denoising autoencoder on log-magnitude spectra: the network, and its model for the Hub.

Introduced by Lu, Tsao, Matsuda & Hori (2013). The layers are architecture (d) of Nossier et al. (2020), "A comparative
study of time and frequency domain approaches to deep learning based speech enhancement".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_dae import DAEConfig
from .feature_extraction_spectrogram import log_magnitude, short_time_spectrum
from .modeling_separation import SeparationMixin, SeparationStream


DEFAULT_HIDDEN_SIZES = (1024, 512, 256, 128)


@dataclass
class DAEOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, *optional*, returned when `labels` is given):
            Mean squared error of the reconstruction.
        reconstruction (`torch.Tensor` of shape `(…, input_dim)`):
            Log-magnitudes of the foreground.
        latent (`torch.Tensor` of shape `(…, latent_dim)`):
            The bottleneck's output.
        hidden_states (`tuple` of tensors `(…, width)`, *optional*, returned on request):
            What leaves every layer norm and stage of the encoder, then every stage of the decoder.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    latent: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class DAEStage(GradientCheckpointingLayer, nn.Sequential):
    """Linear → ReLU → LayerNorm → Dropout."""

    def __init__(self, in_features: int, out_features: int, dropout: float = 0.0):
        super().__init__(
            nn.Linear(in_features, out_features), nn.ReLU(), nn.LayerNorm(out_features), nn.Dropout(dropout)
        )


def build_encoder(sizes: list[int], dropout: float) -> nn.Sequential:
    """LayerNorm over `sizes[0]` inputs, then stages through the other sizes; the first of them drops."""
    dropouts = [dropout] + [0.0] * len(sizes)
    stages = [DAEStage(*widths, p) for widths, p in zip(pairwise(sizes), dropouts)]
    return nn.Sequential(nn.LayerNorm(sizes[0]), *stages)


def build_decoder(sizes: list[int], dropout: float) -> nn.Sequential:
    """Stages from `sizes[0]` to `sizes[-2]`, of which the last drops, then a linear layer to `sizes[-1]`."""
    dropouts = [0.0] * (len(sizes) - 3) + [dropout]
    stages = [DAEStage(*widths, p) for widths, p in zip(pairwise(sizes[:-1]), dropouts)]
    return nn.Sequential(*stages, nn.Sequential(nn.Linear(sizes[-2], sizes[-1])))


def outputs_of(stages: nn.Sequential, hidden_states: Tensor) -> list[Tensor]:
    """What leaves each of the stages, in order."""
    outputs = []
    for stage in stages:
        hidden_states = stage(hidden_states)
        outputs.append(hidden_states)
    return outputs


class VanillaAutoEncoder(nn.Module):
    r"""
    The denoising autoencoder as a plain module; libdse's state dicts load into it unchanged.

        frames (…, input_dim)                                        reconstruction (…, input_dim)
          │                                                            ↑
        LayerNorm                                                    linear
          ↓                                                            ↑
        [stage, h_1] dropout                                         [stage, h_1] dropout
          ⋮                                                            ⋮
        [stage, h_n]                                                 [stage, h_n]
          ↓                                                            ↑
        [stage, latent_dim] ─────────── latent (…, latent_dim) ────────┘     stage: linear → ReLU → LayerNorm

    Args:
        input_dim (`int`): width of the input and of the reconstruction.
        latent_dim (`int`): width of the bottleneck.
        hidden_layer_struct (`list[int]`, *optional*, defaults to `[1024, 512, 256, 128]`): h_1 … h_n.
        dropout (`float`, *optional*): probability that drops units of the first hidden layer and its mirror.
    """

    def __init__(
        self,
        input_dim: int,
        latent_dim: int,
        hidden_layer_struct: Sequence[int] | None = None,
        dropout: float | None = None,
    ):
        super().__init__()
        hidden_sizes = DEFAULT_HIDDEN_SIZES if hidden_layer_struct is None else hidden_layer_struct
        sizes = [input_dim, *hidden_sizes, latent_dim]
        self.encoder = build_encoder(sizes, dropout or 0.0)
        self.decoder = build_decoder(sizes[::-1], dropout or 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """(…, input_dim) → (…, input_dim)."""
        return self.decoder(self.encoder(input))


def overlap_add(spectrum: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Signal of Hann-windowed frames: undoes `short_time_spectrum` where all frames of a sample are there.

    Complex (B, frames, bins) → (B, (frames - 1) * hop_length + n_fft). Weighted by the window once more and
    divided by the sum of the squared windows: the signal whose frames are nearest (Griffin & Lim 1984).
    """
    window = torch.hann_window(n_fft, device=spectrum.device)
    frames = torch.fft.irfft(spectrum, n=n_fft) * window  # (B, frames, n_fft)
    length = (frames.shape[1] - 1) * hop_length + n_fft
    signal = F.fold(frames.transpose(1, 2), (1, length), (1, n_fft), stride=(1, hop_length)).flatten(1)
    overlap = window.square().unflatten(0, (-1, hop_length)).sum(dim=0)  # repeats with every step
    return signal / overlap.repeat(length // hop_length)


class DAEPreTrainedModel(SeparationMixin, PreTrainedModel):
    config_class = DAEConfig
    base_model_prefix = "dae"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    has_own_loss = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # PyTorch's own initialisation. The default of transformers, N(0, 0.02), is made for other networks.
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            module.reset_parameters()

    def separation_stream(self, tile_length: int | None = None) -> SeparationStream:
        self.config.check_takes_waveforms()
        return super().separation_stream(tile_length)

    def separate_window(self, window: Tensor) -> Tensor:
        """Returns the foreground (B, 1, 1, T - 2 * context) of a window (B, 1, T), in float32 for any model dtype.

        The network gives the magnitudes of the foreground. The phases are those of the mixture. Where the mixture is
        silent it has no phase, and the foreground is silent too.
        """
        config = self.config
        mixture = window[:, 0].float()
        spectrum = short_time_spectrum(mixture, config.n_fft, config.hop_length)  # (B, frames, bins)
        features = log_magnitude(spectrum, config.log_offset).to(self.dtype)
        estimate = self(features, return_dict=True).reconstruction.float()
        magnitude = (estimate.exp() - config.log_offset).clamp(min=0)
        # Denormal numbers have no phase: sgn divides them by zero.
        phase = spectrum.sgn().masked_fill(spectrum.abs() < torch.finfo(torch.float32).tiny, 0.0)
        foreground = overlap_add(magnitude * phase, config.n_fft, config.hop_length)
        return foreground[:, None, None, config.context : mixture.shape[-1] - config.context]

    def training_inputs(self, mixture: Tensor, sources: Tensor) -> dict[str, Tensor]:
        """Log-magnitude frames (B·C, frames, bins) of the mixture and, as labels, of the foreground."""
        self.config.check_takes_waveforms()
        features = []
        for waveforms in (mixture, sources[:, 0]):
            spectrum = short_time_spectrum(waveforms.flatten(0, 1), self.config.n_fft, self.config.hop_length)
            features.append(log_magnitude(spectrum, self.config.log_offset))
        return {"input_features": features[0], "labels": features[1]}

    def _check_shapes(self, input_features: Tensor, labels: Tensor | None, attention_mask: Tensor | None) -> None:
        shape, input_dim = tuple(input_features.shape), self.config.input_dim
        if not shape or shape[-1] != input_dim:
            raise ValueError(f"input_features of shape {shape}: give (…, {input_dim}), the bins of a frame")
        if labels is not None and labels.shape != shape:
            raise ValueError(f"labels of shape {tuple(labels.shape)}: give {shape}, as input_features has")
        if attention_mask is not None and attention_mask.shape != shape[:-1]:
            raise ValueError(
                f"attention_mask of shape {tuple(attention_mask.shape)}: give {shape[:-1]}, a value per frame"
            )


def unpadded(frames: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The frames (…, width) that are not padding: (N, width), or all as they are without a mask."""
    return frames if attention_mask is None else frames[attention_mask.bool()]


class DAEModel(DAEPreTrainedModel):
    r"""
    Denoises log-magnitude frames with a [`VanillaAutoEncoder`], and waveforms by way of them:

        waveform ─▶ spectrum X ─▶ log(|X| + ε) ─▶ network ─▶ exp(·) - ε ─▶ × ─▶ overlap-add ─┬─▶ foreground
           │            └──────────────── phase X/|X| ─────────────────────┘                 ↓
           └────────────────────────────────────────────────────────────────────────────▶ minus ─▶ background

        >>> model(**feature_extractor(waveform, sampling_rate=8000, return_tensors="pt")).reconstruction
        >>> model.separate(waveform, 8000)  # (C, T) of any length, the same length out
    """

    network_class: type[nn.Module] = VanillaAutoEncoder
    output_class: type[ModelOutput] = DAEOutput
    network: Any  # of the class above

    def __init__(self, config: DAEConfig):
        super().__init__(config)
        self.network = self.network_class(config.input_dim, config.latent_dim, config.hidden_sizes, config.dropout)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_features: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> ModelOutput:
        r"""
        Args:
            input_features (`torch.Tensor` of shape `(…, input_dim)`):
                Log-magnitude frames of the mixture, as [`SpectrogramFeatureExtractor`] makes them.
            labels (`torch.Tensor` of shape `(…, input_dim)`, *optional*):
                Log-magnitude frames of the foreground alone.
            attention_mask (`torch.Tensor` of shape `(…)`, *optional*):
                0 for padding, which does not count in the loss, 1 for the other frames.
            output_hidden_states (`bool`, *optional*, defaults to `config.output_hidden_states`):
                Whether to return the outputs of the stages as well.

        Returns:
            [`DAEOutput`].

        Raises:
            ValueError: a shape does not fit the config or the other shapes.
        """
        self._check_shapes(input_features, labels, attention_mask)
        encoded = outputs_of(self.network.encoder, input_features)
        bottleneck, penalty = self._bottleneck(encoded[-1], attention_mask)
        decoded = outputs_of(self.network.decoder, bottleneck["latent"])
        loss = None
        if labels is not None:
            loss = F.mse_loss(unpadded(decoded[-1], attention_mask), unpadded(labels, attention_mask)) + penalty
        return self.output_class(
            loss=loss,
            reconstruction=decoded[-1],
            **bottleneck,
            hidden_states=(*encoded, *decoded) if self._wants_hidden_states(output_hidden_states) else None,
        )

    def _bottleneck(self, hidden_states: Tensor, attention_mask: Tensor | None) -> tuple[dict[str, Tensor], Any]:
        """Output of the encoder → the fields of the output that the bottleneck makes, and what it adds to the loss."""
        return {"latent": hidden_states}, 0.0


# The code travels with the weights: `save_pretrained` copies it, for `trust_remote_code=True`.
DAEModel.register_for_auto_class("AutoModel")

__all__ = ["DAEModel", "DAEOutput", "DAEPreTrainedModel", "VanillaAutoEncoder"]
