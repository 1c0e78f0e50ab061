r"""The Wave-U-Net's forward pass, arranged for the processor: the same samples, sooner.

Convolutions run on channels-last images of height 1, the layout that the processor's convolution kernels want, and

- the convolution of [upsampled, skip] is the sum of two convolutions, so that the concatenation is never written;
- without gradients, interpolation and convolution of the upsampled part are one convolution, before the upsampling
  (with gradients, that took longer than it saves). With x the features, u the interpolated ones, u[2m] = x[m] and
  u[2m+1] = s·x[m] + (1-s)·x[m+1], and w a kernel, both phases of w * u,

      y[2m], y[2m+1]  =  Σ_j  even[j]·x[m+j], odd[j]·x[m+j],

  are convolutions of x by kernels half as long. A channels-last image of [even, odd] channels is the interleaved
  signal as it lies in memory.

This file does it for batches in one piece, `modeling_waveunet_stream.py` for signals in blocks.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def predict_sources_fast(network: nn.Module, mixture: Tensor) -> Tensor:
    """What `network.predict_sources(mixture)` gives, within rounding: (B, C, T) → (B, K, C, T')."""
    image = mixture.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (B, C, 1, T)
    hidden_states, skips = image, []
    for block in network.encoder:
        skip = activate(network, _convolve(hidden_states, block.weight, block.bias, padding_of(block)))
        skips.append(skip)
        hidden_states = skip[..., ::2]
    bottleneck = network.bottleneck[0]
    hidden_states = _convolve(hidden_states, bottleneck.weight, bottleneck.bias, padding_of(bottleneck))
    hidden_states = activate(network, hidden_states)
    for block in network.decoder:
        hidden_states = activate(network, _convolve_stacked(network, block, hidden_states, skips.pop()))
    output, activation = network.output_layer
    channels = hidden_states.shape[1]
    predicted = _convolve(hidden_states, output.weight[:, :channels], output.bias) + _convolve(
        network.center_crop(image, hidden_states.shape[-1]), output.weight[:, channels:]
    )
    return network.complete_sources(activation(predicted).squeeze(2).contiguous(), mixture)


def activate(network: nn.Module, hidden_states: Tensor) -> Tensor:
    # In place: no convolution needs its own output for its gradient.
    return F.leaky_relu(hidden_states, network.bottleneck[1].negative_slope, inplace=True)


def padding_of(conv: nn.Conv1d) -> int:
    return conv.kernel_size[0] // 2 if conv.padding == "same" else 0


def _convolve(image: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Tensor:
    """Convolution of an image (B, C, 1, T) along T by a kernel (C', C, k)."""
    image = image.contiguous(memory_format=torch.channels_last)
    return F.conv2d(image, weight.unsqueeze(2), bias, padding=(0, padding))


def _convolve_stacked(network: nn.Module, block: nn.Conv1d, hidden_states: Tensor, skip: Tensor) -> Tensor:
    """Convolution of the upsampled features and the cropped skip, as if they were one stack of channels."""
    channels, padding = hidden_states.shape[1], padding_of(block)
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
    share, half = share_of_left(block, weight), weight.shape[-1] // 2
    before, after = reach(half)
    both = _convolve(hidden_states, fold_upsampling(weight, share), padding=after)  # (B, 2·C', 1, T + after - before)
    woven = both.permute(0, 2, 3, 1).unflatten(-1, (2, -1)).flatten(2, 3).permute(0, 3, 1, 2)
    first = 2 * (after - before) + half - padding
    convolved = convolved.add_(woven[..., first : first + convolved.shape[-1]])
    if padding:  # u is zero beyond both ends, where zeros around x give halves of its ends
        start = torch.einsum("bc,oct->bot", hidden_states[:, :, 0, 0] * (1 - share), weight[..., :half])
        end = torch.einsum("bc,oct->bot", hidden_states[:, :, 0, -1] * share, weight[..., half + 1 :])
        count = min(half, convolved.shape[-1])
        convolved[:, :, 0, :count] -= start.flip(-1)[..., :count]
        convolved[:, :, 0, -count:] -= end.flip(-1)[..., -count:]
    return convolved


def share_of_left(block: nn.Conv1d, weight: Tensor) -> Tensor:
    """(C,): the share of the left neighbour in an interpolated step of each channel."""
    learned = getattr(block.upsample, "weight", None)
    return torch.full_like(weight[0, :, 0], 0.5) if learned is None else torch.sigmoid(learned.detach())[:, 0]


def reach(half: int) -> tuple[int, int]:
    """Frames before and after x[m] that y[2m] and y[2m+1] depend on."""
    return (half + 1) // 2, half // 2 + 1


def fold_upsampling(weight: Tensor, share: Tensor) -> Tensor:
    """Kernels of both phases, (2·C', C, taps), of interpolation and then convolution by weight (C', C, k)."""
    size = weight.shape[-1]
    before, after = reach(size // 2)
    # What every tap, and its shares of the left and of the right neighbour, add to the taps of the folded kernels.
    whole, left, right = folding = weight.new_zeros(3, size, 2, before + after + 1)
    # The sample u[t + k - half], which tap k takes, is x[t // 2 + m], or lies between that and the next one.
    for phase in (0, 1):
        for k in range(size):
            m, between = divmod(phase + k - size // 2, 2)
            (left if between else whole)[k, phase, before + m] = 1.0
            if between:
                right[k, phase, before + m + 1] = 1.0
    shares = torch.cat([weight, weight * share[:, None], weight * (1 - share)[:, None]], dim=-1)
    return torch.einsum("ock,kpj->pocj", shares, folding.flatten(0, 1)).flatten(0, 1)


class FrameConvolution:
    """Convolution of frames (n, C), by a kernel (C', C, k), then bias and LeakyReLU: (n - k + 1, C'). No gradients.

    With the private operators of `has_fused_convolution` the bias, the sum and the LeakyReLU are part of the
    convolution, and the weights stay in the order of memory that its kernel wants.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, slope: float | None = None, fused: bool = False):
        self.weight = weight.detach().unsqueeze(2)
        self.bias = None if bias is None else bias.detach().contiguous()  # oneDNN takes no other
        self.slope, self.fused = slope, fused
        self.out_channels, self.channels, _, self.size = self.weight.shape
        self.packed, self.packed_for = None, 0

    def zeros(self, count: int) -> Tensor:
        return self.weight.new_zeros(count, self.channels)

    def __call__(self, frames: Tensor, onto: Tensor | None = None) -> Tensor:
        """Adds to `onto` (n - k + 1, C'), before the LeakyReLU, if that is given; it is overwritten."""
        image = _image_of(frames.contiguous())
        if not self.fused:
            convolved = _frames_of(F.conv2d(image, self.weight, self.bias))
            convolved = convolved if onto is None else onto.add_(convolved)
        elif onto is None:
            unary = ("none", []) if self.slope is None else ("leaky_relu", [self.slope])
            weight = self._packed_weight(image)
            convolved = torch.ops.mkldnn._convolution_pointwise(image, weight, self.bias, *_GEOMETRY, *unary, None)
            return _frames_of(convolved)
        else:  # oneDNN's LeakyReLU does not go together with a sum
            weight = self._packed_weight(image)
            torch.ops.mkldnn._convolution_pointwise_.binary(
                _image_of(onto), image, weight, self.bias, *_GEOMETRY, "add", 1.0, None, [], None
            )
            convolved = onto
        return convolved if self.slope is None else F.leaky_relu_(convolved, self.slope)

    def _packed_weight(self, image: Tensor) -> Tensor:
        length = image.shape[-1]
        if length != self.packed_for:
            self.packed, self.packed_for = None, length
            if self.channels > 4:  # packing costs more than it saves, unless this length comes again
                return self.weight
        if self.packed is None:  # for this very length: another one's order would be undone in every call
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *_GEOMETRY, list(image.shape))
        return self.packed


_GEOMETRY = ([0, 0], [1, 1], [1, 1], 1)  # padding, stride, dilation, groups


def has_fused_convolution(weight: Tensor) -> bool:
    """Whether PyTorch's private convolutions with activation are there for such weights, and right."""
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
            results.append([first(frames), first(frames), first(frames, onto=frames[:6].clone())])  # 2nd: packed
        return all(torch.allclose(ours, theirs, atol=0.1) for theirs, ours in zip(*results))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # of another version of PyTorch
        return False


def _image_of(frames: Tensor) -> Tensor:
    """(n, C) → (1, C, 1, n), channels last, in the same memory."""
    return frames[None, None].permute(0, 3, 1, 2)


def _frames_of(image: Tensor) -> Tensor:
    return image[0, :, 0].T.contiguous()
