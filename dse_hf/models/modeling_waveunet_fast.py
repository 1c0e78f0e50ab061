"""The Wave-U-Net's forward pass, arranged for the processor: the same samples, sooner.

The convolutions run on channels-last images of height 1, which is the layout that the processor's convolution kernels
want. In the decoder the convolution of [upsampled, skip] is the sum of two convolutions, one of each part, so that the
concatenation is never written to memory. Gradients flow, so that training may use it as well.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def predict_sources_fast(network: nn.Module, mixture: Tensor) -> Tensor:
    """What `network.predict_sources(mixture)` gives, within rounding: (B, C, T) → (B, K, C, T')."""
    image = mixture.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
    hidden_states, skips = image, []
    for block in network.encoder:
        skip = _activate(network, _convolve(block, hidden_states, block.weight, block.bias))
        skips.append(skip)
        hidden_states = skip[..., ::2]
    bottleneck = network.bottleneck[0]
    hidden_states = _activate(network, _convolve(bottleneck, hidden_states, bottleneck.weight, bottleneck.bias))
    for block in network.decoder:
        hidden_states = _activate(network, _convolve_stacked(network, block, hidden_states, skips.pop()))
    output, activation = network.output_layer
    features = network.stack_channels(hidden_states, image)
    predicted = activation(_convolve(output, features, output.weight, output.bias)).squeeze(2).contiguous()
    return network.complete_sources(predicted, mixture)


def _activate(network: nn.Module, hidden_states: Tensor) -> Tensor:
    return F.leaky_relu(hidden_states, network.bottleneck[1].negative_slope)


def _convolve(conv: nn.Conv1d, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution of an image (B, C, 1, T) along T, with the padding of `conv`."""
    padding = conv.kernel_size[0] // 2 if conv.padding == "same" else 0
    image = image.contiguous(memory_format=torch.channels_last)
    return F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding))


def _convolve_stacked(network: nn.Module, block: nn.Conv1d, hidden_states: Tensor, skip: Tensor) -> Tensor:
    """Convolution of the upsampled features and the cropped skip, as if they were one stack of channels."""
    length = 2 * hidden_states.shape[-1] - 1
    if any(True for _ in block.upsample.parameters()):  # learned
        upsampled = block.upsample(hidden_states.squeeze(2)).unsqueeze(2)
    else:
        upsampled = F.interpolate(hidden_states, size=(1, length), mode="bilinear", align_corners=True)
    skip = network.center_crop(skip, length)
    channels = upsampled.shape[1]
    return _convolve(block, upsampled, block.weight[:, :channels], block.bias) + _convolve(
        block, skip, block.weight[:, channels:], None
    )
