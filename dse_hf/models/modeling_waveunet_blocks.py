"""The blocks of the Wave-U-Net (Stoller, Ewert & Dixon 2018, arXiv:1806.03185, Table 1 and section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .modeling_separation import center_crop


LEAKINESS = 0.2


def stack_channels(input1: Tensor, input2: Tensor) -> Tensor:
    """(B, C1, T), (B, C2, T2 ≥ T) → (B, C1 + C2, T): the second is cropped to the first."""
    return torch.cat([input1, center_crop(input2, input1.shape[-1])], dim=1)


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


class WaveUNetDownsamplingBlock(GradientCheckpointingLayer, nn.Conv1d):
    """Convolution, LeakyReLU; the skip leaves before every other step is dropped (Table 1: DS block)."""

    # A block is its convolution, so that libdse's state dicts load into it, and does more.
    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:  # pyrefly: ignore[bad-override-param-name]
        skip = F.leaky_relu(self._conv_forward(hidden_states, self.weight, self.bias), LEAKINESS)
        return skip, skip[..., ::2]


class WaveUNetUpsamplingBlock(GradientCheckpointingLayer, nn.Conv1d):
    """Upsampling, concatenation with the cropped skip, convolution, LeakyReLU (Table 1: US block)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, upsampling: str, **kwargs):
        super().__init__(in_channels + skip_channels, out_channels, **kwargs)
        self.upsample = (
            WaveUNetLearnedUpsampling(in_channels) if upsampling == "learned" else WaveUNetLinearUpsampling()
        )

    def forward(self, hidden_states: Tensor, skip: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        hidden_states = stack_channels(self.upsample(hidden_states), skip)
        return F.leaky_relu(self._conv_forward(hidden_states, self.weight, self.bias), LEAKINESS)
