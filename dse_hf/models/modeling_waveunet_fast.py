r"""The Wave-U-Net's forward pass, arranged for the processor: the same samples, sooner.

Convolutions run on channels-last images of height 1, the layout that the processor's convolution kernels want, and

- the convolution of [upsampled, skip] is the sum of two convolutions, so that the concatenation is never written;
- without gradients, interpolation and convolution of the upsampled part are one convolution, before the upsampling
  (with gradients, that took longer than it saves). With x the features, u the interpolated ones, u[2m] = x[m] and
  u[2m+1] = s·x[m] + (1-s)·x[m+1], and w a kernel, both phases of w * u,

      y[2m], y[2m+1]  =  Σ_j  even[j]·x[m+j], odd[j]·x[m+j],

  are convolutions of x by kernels half as long. A channels-last image of [even, odd] channels is the interleaved
  signal as it lies in memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def predict_sources_fast(network: nn.Module, mixture: Tensor) -> Tensor:
    """What `network.predict_sources(mixture)` gives, within rounding: (B, C, T) → (B, K, C, T')."""
    image = mixture.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
    hidden_states, skips = image, []
    for block in network.encoder:
        skip = _activate(network, _convolve(hidden_states, block.weight, block.bias, _padding_of(block)))
        skips.append(skip)
        hidden_states = skip[..., ::2]
    bottleneck = network.bottleneck[0]
    hidden_states = _convolve(hidden_states, bottleneck.weight, bottleneck.bias, _padding_of(bottleneck))
    hidden_states = _activate(network, hidden_states)
    for block in network.decoder:
        hidden_states = _activate(network, _convolve_stacked(network, block, hidden_states, skips.pop()))
    output, activation = network.output_layer
    channels = hidden_states.shape[1]
    predicted = _convolve(hidden_states, output.weight[:, :channels], output.bias) + _convolve(
        network.center_crop(image, hidden_states.shape[-1]), output.weight[:, channels:]
    )
    return network.complete_sources(activation(predicted).squeeze(2).contiguous(), mixture)


def _activate(network: nn.Module, hidden_states: Tensor) -> Tensor:
    # In place: no convolution needs its own output for its gradient.
    return F.leaky_relu(hidden_states, network.bottleneck[1].negative_slope, inplace=True)


def _padding_of(conv: nn.Conv1d) -> int:
    return conv.kernel_size[0] // 2 if conv.padding == "same" else 0


def _convolve(image: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Tensor:
    """Convolution of an image (B, C, 1, T) along T by a kernel (C', C, k)."""
    image = image.contiguous(memory_format=torch.channels_last)
    return F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding))


def _convolve_stacked(network: nn.Module, block: nn.Conv1d, hidden_states: Tensor, skip: Tensor) -> Tensor:
    """Convolution of the upsampled features and the cropped skip, as if they were one stack of channels."""
    channels, padding = hidden_states.shape[1], _padding_of(block)
    skip = network.center_crop(skip, 2 * hidden_states.shape[-1] - 1)
    convolved = _convolve(skip, block.weight[:, channels:], block.bias, padding)
    if not torch.is_grad_enabled():
        return _add_upsampled(convolved, hidden_states, block, padding)
    if any(True for _ in block.upsample.parameters()):  # learned
        upsampled = block.upsample(hidden_states.squeeze(2)).unsqueeze(2)
    else:
        size = (1, 2 * hidden_states.shape[-1] - 1)
        upsampled = F.interpolate(hidden_states, size=size, mode="bilinear", align_corners=True)
    return convolved + _convolve(upsampled, block.weight[:, :channels], None, padding)


def _add_upsampled(convolved: Tensor, hidden_states: Tensor, block: nn.Conv1d, padding: int) -> Tensor:
    """Adds the convolution of the upsampled features (B, C, 1, T) to the skip's (B, C', 1, T'), in place."""
    weight = block.weight[:, : hidden_states.shape[1]]  # (C', C, k)
    half, learned = weight.shape[-1] // 2, getattr(block.upsample, "weight", None)
    share = torch.full_like(weight[0, :, :1], 0.5) if learned is None else torch.sigmoid(learned)  # (C, 1)
    # The sample u[t + k - half], which tap k takes, is x[t // 2 + m], or lies between that and the next one.
    before, after = (half + 1) // 2, half // 2 + 1
    kernel = weight.new_zeros(2, *weight.shape[:2], before + after + 1)
    for phase in (0, 1):
        for k, tap in enumerate(weight.unbind(dim=-1)):
            m, between = divmod(phase + k - half, 2)
            left = share[:, 0] if between else 1.0
            kernel[phase, ..., before + m] += left * tap
            if between:
                kernel[phase, ..., before + m + 1] += (1 - left) * tap
    both = _convolve(hidden_states, kernel.flatten(0, 1), padding=after)  # (B, 2·C', 1, T + after - before)
    woven = both.permute(0, 2, 3, 1).unflatten(-1, (2, -1)).flatten(2, 3).permute(0, 3, 1, 2)
    first = 2 * (after - before) + half - padding
    convolved = convolved.add_(woven[..., first : first + convolved.shape[-1]])
    if padding:  # u is zero beyond both ends, where zeros around x give halves of its ends
        start = torch.einsum("bc,oct->bot", hidden_states[:, :, 0, 0] * (1 - share.T), weight[..., :half])
        end = torch.einsum("bc,oct->bot", hidden_states[:, :, 0, -1] * share.T, weight[..., half + 1 :])
        count = min(half, convolved.shape[-1])
        convolved[:, :, 0, :count] -= start.flip(-1)[..., :count]
        convolved[:, :, 0, -count:] -= end.flip(-1)[..., -count:]
    return convolved
