"""The blocks of the Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185, Table 1 and section 3.2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .modeling_separation import center_crop


LEAKINESS = 0.2


def stack_channels(input1: Tensor, input2: Tensor) -> Tensor:
    """(B, C1, T), (B, C2, T2 ≥ T) → (B, C1 + C2, T): the second is cropped to the first."""
    return torch.cat([input1, center_crop(input2, input1.shape[-1])], dim=1)


class CheckpointedBlock(nn.Module):
    """A block that can compute its activations again in the backward pass, instead of keeping them.

    `PreTrainedModel.activation_checkpointing_enable` sets both attributes. It knows transformers' own
    `GradientCheckpointingLayer` too, whose import takes seconds.
    """

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable

    def __call__(self, *inputs: Tensor):
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(super().__call__, *inputs)
        return super().__call__(*inputs)


class WaveUNetLinearUpsampling(nn.Module):
    """Linear interpolation between neighbours: T steps become 2T - 1, the old ones unchanged (section 3.2.1)."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        length = 2 * hidden_states.shape[-1] - 1
        return F.interpolate(hidden_states, size=length, mode="linear", align_corners=True)


class WaveUNetLearnedUpsampling(nn.Module):
    """As linear interpolation, but the new step is σ(w)·left + (1 - σ(w))·right, with a w per channel (3.2.1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1))  # σ(0) = ½: starts as linear interpolation

    def forward(self, hidden_states: Tensor) -> Tensor:
        left, right = hidden_states[..., :-1], hidden_states[..., 1:]
        share = torch.sigmoid(self.weight)
        between = share * left + (1 - share) * right
        woven = torch.stack([left, between], dim=-1).flatten(-2)
        return torch.cat([woven, hidden_states[..., -1:]], dim=-1)


class WaveUNetDownsamplingBlock(CheckpointedBlock, nn.Conv1d):
    """Convolution, LeakyReLU; the skip leaves before every other step is dropped (Table 1: DS block)."""

    # pyrefly: ignore[bad-override]  (a block, with the weights of a convolution: libdse's state dicts load)
    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        skip = F.leaky_relu(self._conv_forward(hidden_states, self.weight, self.bias), LEAKINESS)
        return skip, skip[..., ::2]


class WaveUNetUpsamplingBlock(CheckpointedBlock, nn.Conv1d):
    """Upsampling, concatenation with the cropped skip, convolution, LeakyReLU (Table 1: US block)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, upsampling: str, **kwargs):
        super().__init__(in_channels + skip_channels, out_channels, **kwargs)
        self.upsample = (
            WaveUNetLearnedUpsampling(in_channels) if upsampling == "learned" else WaveUNetLinearUpsampling()
        )

    # pyrefly: ignore[bad-override]  (as above)
    def forward(self, hidden_states: Tensor, skip: Tensor) -> Tensor:
        hidden_states = stack_channels(self.upsample(hidden_states), skip)
        return F.leaky_relu(self._conv_forward(hidden_states, self.weight, self.bias), LEAKINESS)
