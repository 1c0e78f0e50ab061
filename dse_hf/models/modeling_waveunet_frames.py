r"""Convolutions of frames, for streams without gradients on a processor.

Interpolation and the convolution of its result are folded into one convolution, which runs before the upsampling. Let
x be the features and u the interpolated ones, u[2m] = x[m] and u[2m+1] = s·x[m] + (1-s)·x[m+1], and let w be a
kernel. Then both phases of w * u,

    y[2m], y[2m+1]  =  Σ_j  even[j]·x[m+j], odd[j]·x[m+j],

are convolutions of x by kernels half as long. Frames of [even, odd] channels are the interleaved signal, as it lies in
memory.
"""

from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def share_of_left(block: nn.Conv1d, weight: Tensor) -> Tensor:
    """The share of the left neighbour in an interpolated step, for every channel: (C,)."""
    learned = getattr(block.upsample, "weight", None)
    return torch.full_like(weight[0, :, 0], 0.5) if learned is None else torch.sigmoid(learned.detach())[:, 0]


def reach(half: int) -> tuple[int, int]:
    """How many frames before and after x[m] are needed for y[2m] and y[2m+1]."""
    return (half + 1) // 2, half // 2 + 1


def fold_upsampling(weight: Tensor, share: Tensor) -> Tensor:
    """Kernels of both phases, (2·C', C, taps), of interpolation followed by convolution with weight (C', C, k)."""
    size = weight.shape[-1]
    before, after = reach(size // 2)
    # Where each tap, and its shares of the left and the right neighbour, go in the folded kernels.
    whole, left, right = folding = weight.new_zeros(3, size, 2, before + after + 1)
    # Tap k takes the sample u[t + k - half]. It is x[t // 2 + m], or lies between that and the next one.
    for phase in (0, 1):
        for k in range(size):
            m, between = divmod(phase + k - size // 2, 2)
            (left if between else whole)[k, phase, before + m] = 1.0
            if between:
                right[k, phase, before + m + 1] = 1.0
    shares = torch.cat([weight, weight * share[:, None], weight * (1 - share)[:, None]], dim=-1)
    return torch.einsum("ock,kpj->pocj", shares, folding.flatten(0, 1)).flatten(0, 1)


class FrameConvolution:
    """Convolves frames (n, C) with a kernel (C', C, k), then adds the bias and applies LeakyReLU: (n - k + 1, C').

    It has no gradients. With the private operators of `has_fused_convolution`, the bias, the sum and the LeakyReLU are
    part of the convolution, and the weights are kept in the memory layout that its kernel wants.

    oneDNN keeps half a megabyte for every length of every convolution, and its layout of the weights fits one length.
    So the length of the output is rounded up to a multiple of `length_step`, or to 16 more, and cropped.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        slope: float | None = None,
        fused: bool = False,
        length_step: int = 1,
    ):
        self.weight = weight.detach().unsqueeze(2)
        self.bias = None if bias is None else bias.detach().contiguous()  # oneDNN takes only contiguous ones
        self.slope, self.fused, self.length_step = slope, fused, length_step
        self.out_channels, self.channels, _, self.size = self.weight.shape
        self.packed, self.packed_for, self.last_length = None, 0, 0

    def zeros(self, count: int) -> Tensor:
        return self.weight.new_zeros(count, self.channels)

    def __call__(self, frames: Tensor, onto: Tensor | None = None) -> Tensor:
        """If `onto` (n - k + 1, C') is given, it is added before the LeakyReLU, and may be written to."""
        surplus = self.surplus(len(frames))
        return self.cropped(F.pad(frames, (0, 0, 0, surplus)) if surplus else frames, surplus, onto)

    def cropped(self, frames: Tensor, surplus: int, onto: Tensor | None = None) -> Tensor:
        """As a call, for frames with a `surplus` at their end already."""
        if surplus and onto is not None:
            onto = F.pad(onto, (0, 0, 0, surplus))
        return self._convolve(frames, onto)[: len(frames) - surplus - self.size + 1]

    def surplus(self, count: int) -> int:
        """How many frames are to be added to `count`, so that the output has one of few lengths."""
        length = count - self.size + 1
        step = min(self.length_step, 1 << (max(length, 1).bit_length() - 1))  # no more than twice a short length
        few = min(16, step // 4)
        return 0 if length % step == 0 else -(length - few) % step

    def _convolve(self, frames: Tensor, onto: Tensor | None) -> Tensor:
        image = _image_of(frames.contiguous())
        if not self.fused:
            convolved = _frames_of(F.conv2d(image, self.weight, self.bias))
            convolved = convolved if onto is None else onto.add_(convolved)
        elif onto is None:
            unary = ("none", []) if self.slope is None else ("leaky_relu", [self.slope])
            weight = self._packed_weight(image)
            convolved = torch.ops.mkldnn._convolution_pointwise(image, weight, self.bias, *_GEOMETRY, *unary, None)
            return _frames_of(convolved)
        else:  # oneDNN cannot apply LeakyReLU after a sum
            weight = self._packed_weight(image)
            torch.ops.mkldnn._convolution_pointwise_.binary(
                _image_of(onto), image, weight, self.bias, *_GEOMETRY, "add", 1.0, None, [], None
            )
            convolved = onto
        return convolved if self.slope is None else F.leaky_relu_(convolved, self.slope)

    def _packed_weight(self, image: Tensor) -> Tensor:
        """The weights in the layout for images of this length, or for another one, which is nearly as fast.

        Packing takes as long as a call with weights that are not packed. So it pays for the first length, and for
        another one if that comes twice in a row.
        """
        length = image.shape[-1]
        if self.packed is None or length == self.last_length != self.packed_for:
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *_GEOMETRY, list(image.shape))
            self.packed_for = length
        self.last_length = length
        return self.packed


class FrameQueue:
    """A queue of frames (n, C). The first `dropped` frames are not kept."""

    def __init__(self, dropped: int = 0):
        self.length, self.dropped, self.blocks = 0, dropped, deque()

    def append(self, frames: Tensor) -> None:
        surplus = min(self.dropped, len(frames))
        self.dropped -= surplus
        if len(frames) > surplus:
            self.blocks.append(frames[surplus:])
            self.length += len(frames) - surplus

    def take(self, count: int, kept: int = 0, filling: Tensor | None = None) -> Tensor:
        """Takes out the first `count` frames, and leaves a copy of the last `kept` of them in the queue.

        What is returned has the `filling` at its end.
        """
        blocks, missing = [], count
        while missing > 0:
            block = self.blocks.popleft()
            if len(block) > missing:
                self.blocks.appendleft(block[missing:].clone())  # a copy, so that the whole block can be freed
            blocks.append(block[:missing])
            missing -= len(blocks[-1])
        if filling is not None and len(filling):
            blocks.append(filling)
        frames = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        if kept:
            self.blocks.appendleft(frames[count - kept : count].clone())
        self.length -= count - kept
        return frames


_GEOMETRY = ([0, 0], [1, 1], [1, 1], 1)  # padding, stride, dilation, groups


def has_fused_convolution(weight: Tensor) -> bool:
    """Whether PyTorch's private fused convolutions exist for such weights, and give correct results."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return False
    kernel = torch.linspace(-1, 1, 48, dtype=weight.dtype).view(4, 4, 3)
    frames = torch.linspace(-1, 1, 32, dtype=weight.dtype).view(8, 4)
    try:
        if weight.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        results = []
        for fused in (False, True):
            first = FrameConvolution(kernel, kernel[0, :, 0], 0.2, fused)
            # The second call uses packed weights.
            results.append([first(frames), first(frames), first(frames, onto=frames[:6].clone())])
        return all(torch.allclose(ours, theirs, atol=0.1) for theirs, ours in zip(*results))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # another version of PyTorch
        return False


def _image_of(frames: Tensor) -> Tensor:
    """(n, C) → (1, C, 1, n), channels last, in the same memory."""
    return frames[None, None].permute(0, 3, 1, 2)


def _frames_of(image: Tensor) -> Tensor:
    return image[0, :, 0].T.contiguous()
