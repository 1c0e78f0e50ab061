"""The Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185): its model for the Hub."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from .configuration_waveunet import WaveUNetConfig
from .modeling_separation import center_crop, mean_squared_error, rest_of_mixture
from .modeling_waveunet_blocks import LEAKINESS, WaveUNetLearnedUpsampling
from .modeling_waveunet_network import WaveUNet, WaveUNetSeparation


@dataclass
class WaveUNetOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `(1,)`, *optional*, returned when `labels` is given):
            Mean squared error of the sources, the loss of the paper.
        sources (`torch.Tensor` of shape `(B, K, C, T')`):
            The separated sources, in the order of `config.sources`.
        mixture (`torch.Tensor` of shape `(B, C, T')`):
            The input, cropped to the output's length.
        hidden_states (`tuple` of `2 L + 1` tensors `(B, channels, time)`, *optional*, returned on request):
            What leaves every downsampling block (before decimation), the bottleneck and every upsampling block.
    """

    loss: Tensor | None = None
    sources: Tensor | None = None
    mixture: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None

    @property
    def foreground(self) -> Tensor:
        """The first source, (B, C, T')."""
        return self.sources[:, 0]  # pyrefly: ignore[unsupported-operation]  (optional, as in every ModelOutput)

    @property
    def background(self) -> Tensor:
        """Everything but the foreground, (B, C, T')."""
        return rest_of_mixture(self.mixture, [self.foreground])


class WaveUNetPreTrainedModel(WaveUNetSeparation, PreTrainedModel):
    config_class = WaveUNetConfig
    base_model_prefix = "waveunet"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # He et al. 2015: features keep their level through all blocks. PyTorch's own default lets them fade by a
        # factor of ten, and the library's, N(0, 0.02), is made for transformers.
        if isinstance(module, nn.Conv1d):
            std = (2 / (1 + LEAKINESS**2) / (module.in_channels * module.kernel_size[0])) ** 0.5
            is_output = module is self.network.output_layer[0]
            nn.init.normal_(module.weight, std=0.1 * std if is_output else std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, WaveUNetLearnedUpsampling):
            nn.init.zeros_(module.weight)


class WaveUNetModel(WaveUNetPreTrainedModel):
    r"""
    Separates a mixture of waveforms into its sources with a [`WaveUNet`].

        >>> output = model(input_values)          # (B, C, T), at config.sampling_rate
        >>> output.foreground, output.background  # (B, C, T') each
        >>> model.separate(waveform, 16000)       # any length, the same length out
    """

    def __init__(self, config: WaveUNetConfig):
        super().__init__(config)
        self.build_network(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        labels: Tensor | None = None,
        padding_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> WaveUNetOutput:
        r"""
        Args:
            input_values (`torch.Tensor` of shape `(B, C, T)`):
                Mixtures at `config.sampling_rate`, full scale ±1. Lengths from `config.input_length_for` keep the
                skips and the decoder in step; others work as in libdse, a few samples out of step.
            labels (`torch.Tensor` of shape `(B, K, C, T)` or `(B, C, T)`, *optional*):
                The sources, or the foreground alone; cropped to the output's length.
            padding_mask (`torch.Tensor` of shape `(B, T)`, *optional*):
                0 for the samples that are padding and do not count in the loss, 1 for the others.
            output_hidden_states (`bool`, *optional*, defaults to `config.output_hidden_states`):
                Whether to return what leaves the blocks as well.

        Raises:
            ValueError: a shape does not fit the configuration, or the input is shorter than the network needs.
        """
        config = self.config
        if input_values.dim() != 3 or input_values.shape[1] != config.channels:
            raise ValueError(
                f"input_values of shape {tuple(input_values.shape)}: give (batch, {config.channels}, samples)"
            )
        config.output_length_for(input_values.shape[-1])  # raises if too short
        hidden_states = None
        if self._wants_hidden_states(output_hidden_states):
            hidden_states = self.network.hidden_states(self._bands(input_values))
        predicted = self._average_polarity_flip(self._predict(input_values, hidden_states), input_values)
        sources = self.network.complete_sources(predicted, input_values)
        mixture = center_crop(input_values, sources.shape[-1])
        loss = None if labels is None else mean_squared_error(sources, labels, padding_mask)
        return WaveUNetOutput(loss=loss, sources=sources, mixture=mixture, hidden_states=hidden_states)


# The code travels with the weights: `save_pretrained` copies it, for `trust_remote_code=True`.
WaveUNetModel.register_for_auto_class("AutoModel")

__all__ = ["WaveUNet", "WaveUNetModel", "WaveUNetOutput", "WaveUNetPreTrainedModel"]
