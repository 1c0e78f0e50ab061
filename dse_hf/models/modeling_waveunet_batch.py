"""The forward pass of the Wave-U-Net, arranged for batches, with gradients: the samples of the plain blocks, faster.

Signals are frames (B, T, channels) here. A convolution takes them as a channels-last image of height 1, the memory
layout that the fast kernels of processors and GPUs want. Tensor cores of GPUs want channels in eights (`multiple=8`):
channels and kernels are filled up with zeros, which stay zero and get no gradient. On processors (`multiple=1`) the
convolution of the stack [upsampled, skip] is the sum of two, so that the stack is never written to memory.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .modeling_separation import center_crop


def predict_batch(network, mixture: Tensor, multiple: int = 1) -> Tensor:
    """Returns what `network.predict(mixture)` returns, within rounding: (B, C, T) → (B, P, C, T').

    Every number of channels is filled up to a `multiple`.
    """
    channels, slope = mixture.shape[1], network.bottleneck[1].negative_slope
    mixture_frames = frames = _fill(mixture.transpose(1, 2).contiguous(), multiple)
    skips = []
    for block in network.encoder:
        skip = _convolve(block, [(frames, block.in_channels)], multiple, slope)
        skips.append(skip)
        frames = skip[:, ::2]
    bottleneck = network.bottleneck[0]
    frames = _convolve(bottleneck, [(frames, bottleneck.in_channels)], multiple, slope)
    for block in network.decoder:
        upsampled, skip = _upsample(block, frames, multiple), skips.pop()
        stack = [(upsampled, block.in_channels - block.out_channels), (skip, block.out_channels)]
        frames = _convolve(block, stack, multiple, slope)
    output, activation = network.output_layer
    stack = [(frames, output.in_channels - channels), (mixture_frames, channels)]
    predicted = _convolve(output, stack, multiple)[..., : output.out_channels]
    return activation(predicted.transpose(1, 2).contiguous()).unflatten(1, (-1, channels))


def _fill(tensor: Tensor, multiple: int, dim: int = -1) -> Tensor:
    """Adds zeros at the end of an axis, so that its length is a multiple."""
    missing = -tensor.shape[dim] % multiple
    if not missing:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=dim)


def _convolve(conv, stack: list[tuple[Tensor, int]], multiple: int, slope: float | None = None) -> Tensor:
    """Convolves a stack of frames (B, T, filled), each with the number of its channels before the filling.

    All are cropped to the length of the first ones. With a `slope`, LeakyReLU follows. Returns (B, T', filled).
    """
    parts = [center_crop(frames, stack[0][0].shape[1], dim=1) for frames, _ in stack]
    weight = conv.weight.unsqueeze(2)
    kernels = [weight] if len(stack) == 1 else [weight[:, : stack[0][1]], weight[:, stack[0][1] :]]
    if multiple > 1:  # one convolution of the whole stack
        parts = [torch.cat([part.to(parts[0].dtype) for part in parts], dim=-1)]
        kernel = torch.cat([_fill(kernel, multiple, dim=1) for kernel in kernels], dim=1)
        kernels = [_fill(kernel, multiple, dim=0)]
    padding = (0, conv.kernel_size[0] // 2 if conv.padding == "same" else 0)
    biases = (None if conv.bias is None else _fill(conv.bias, multiple), None)
    convolved = [
        F.conv2d(_image_of(part), kernel, bias, padding=padding) for part, kernel, bias in zip(parts, kernels, biases)
    ]
    image = sum(convolved[1:], start=convolved[0])
    if slope is not None:
        # In place, because no convolution needs its own output for its gradient; and not on a view, whose gradient
        # would be copied.
        F.leaky_relu(image, slope, inplace=True)
    return _frames_of(image)


def _image_of(frames: Tensor) -> Tensor:
    """(B, T, C) → (B, C, 1, T), channels last in memory."""
    return frames.contiguous().unsqueeze(1).permute(0, 3, 1, 2)


def _frames_of(image: Tensor) -> Tensor:
    """(B, C, 1, T) → (B, T, C), in the same memory."""
    return image.permute(0, 2, 3, 1).squeeze(1)


def _upsample(block, frames: Tensor, multiple: int) -> Tensor:
    """(B, T, filled) → (B, 2T - 1, filled), as `block.upsample` does."""
    learned = getattr(block.upsample, "weight", None)  # (channels, 1)
    if learned is None and multiple == 1:  # on GPUs, the backward pass of this is slow
        size = (1, 2 * frames.shape[1] - 1)
        return _frames_of(F.interpolate(_image_of(frames), size=size, mode="bilinear", align_corners=True))
    left, right = frames[:, :-1], frames[:, 1:]
    share = 0.5 if learned is None else _fill(torch.sigmoid(learned[:, 0]), multiple).to(frames.dtype)
    between = share * left + (1 - share) * right
    woven = torch.stack([left, between], dim=2).flatten(1, 2)
    return torch.cat([woven, frames[:, -1:]], dim=1)
