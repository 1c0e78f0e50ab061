"""The Wave-U-Net's forward pass, arranged for training on GPUs: the same samples, sooner.

Tensor cores want channels in eights, one after another in memory. So signals are frames (B, T, channels), which to a
convolution are a channels-last image of height 1, and channels are filled up with zeros, as are the kernels: zeros
they stay, and their gradients end at the filling.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .modeling_waveunet_fast import activate, padding_of


MULTIPLE = 8


def predict_sources_aligned(network: nn.Module, mixture: Tensor) -> Tensor:
    """What `network.predict_sources(mixture)` gives, within rounding: (B, C, T) → (B, K, C, T')."""
    frames = _fill(mixture.transpose(1, 2), mixture.shape[1])
    hidden_states, skips = frames, []
    for block in network.encoder:
        skip = activate(network, _convolve(hidden_states, block, [block.in_channels]))
        skips.append((block.out_channels, skip))
        hidden_states = skip[:, ::2]
    bottleneck = network.bottleneck[0]
    hidden_states = activate(network, _convolve(hidden_states, bottleneck, [bottleneck.in_channels]))
    for block in network.decoder:
        channels, skip = skips.pop()
        stacked = _stack(network, _upsample(block, hidden_states, block.in_channels - channels), skip)
        hidden_states = activate(network, _convolve(stacked, block, [block.in_channels - channels, channels]))
    output, activation = network.output_layer
    stacked = _stack(network, hidden_states, frames)
    predicted = _convolve(stacked, output, [output.in_channels - mixture.shape[1], mixture.shape[1]])
    predicted = activation(predicted[..., : output.out_channels].transpose(1, 2).contiguous())
    return network.complete_sources(predicted, mixture)


def _filled(channels: int) -> int:
    return -(-channels // MULTIPLE) * MULTIPLE


def _fill(frames: Tensor, channels: int) -> Tensor:
    """(…, channels) → (…, filled), zeros behind."""
    return F.pad(frames, (0, _filled(channels) - channels))


def _convolve(frames: Tensor, conv: nn.Conv1d, stacked: list[int]) -> Tensor:
    """Frames (B, T, …) of `stacked` channels, each filled up → (B, T', filled)."""
    parts = conv.weight.transpose(1, 2).split(stacked, dim=-1)  # (C', k, C) each
    weight = torch.cat([_fill(part, channels) for part, channels in zip(parts, stacked)], dim=-1)
    missing = _filled(conv.out_channels) - conv.out_channels
    kernel = F.pad(weight, (0, 0, 0, 0, 0, missing)).unsqueeze(1).permute(0, 3, 1, 2)  # (filled, …, 1, k)
    image = frames.contiguous().unsqueeze(1).permute(0, 3, 1, 2)  # (B, …, 1, T)
    convolved = F.conv2d(image, kernel, F.pad(conv.bias, (0, missing)), padding=(0, padding_of(conv)))
    return convolved.permute(0, 2, 3, 1).squeeze(1)


def _upsample(block: nn.Module, frames: Tensor, channels: int) -> Tensor:
    """(B, T, filled) → (B, 2T - 1, filled), as `block.upsample` does."""
    left, right = frames[:, :-1], frames[:, 1:]
    learned = getattr(block.upsample, "weight", None)  # (channels, 1)
    share = 0.5 if learned is None else _fill(torch.sigmoid(learned[:, 0]), channels).to(frames.dtype)
    between = share * left + (1 - share) * right
    woven = torch.stack([left, between], dim=2).flatten(1, 2)
    return torch.cat([woven, frames[:, -1:]], dim=1)


def _stack(network: nn.Module, frames: Tensor, skip: Tensor) -> Tensor:
    """(B, T, …), (B, T2 ≥ T, …) → (B, T, …): channels of both; the skip is cropped."""
    skip = network.center_crop(skip.transpose(1, 2), frames.shape[1]).transpose(1, 2)
    return torch.cat([frames, skip.to(frames.dtype)], dim=-1)
