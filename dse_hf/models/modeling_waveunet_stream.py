"""Separation by a Wave-U-Net on a processor, block by block. Nothing is computed twice, and a block fits the cache.

A window of a long signal needs thousands of samples of context on both sides, whose output is thrown away. Here each
convolution keeps the few frames that its next block needs, and skips wait until the decoder has caught up.
"""

import torch
from torch import Tensor, nn

from .modeling_filter_bank import REACH, FilterBank, frame_kernels
from .modeling_separation import SeparationStream, group_channels, ungroup_channels
from .modeling_waveunet_frames import (
    FrameConvolution,
    FrameQueue,
    fold_upsampling,
    has_fused_convolution,
    reach,
    share_of_left,
)


# Length of a block: shorter blocks spend more time on the small deep levels, longer ones outgrow the cache.
BLOCK_SAMPLES = 1 << 15
LENGTH_STEP = 1 << 13  # of the lengths of convolutions, in samples; see `FrameConvolution`
BLOCK_VALUES = 1 << 21  # as BLOCK_SAMPLES, for wide networks: samples times the values of the widest layer


class WaveUNetStream(SeparationStream):
    """A [`SeparationStream`] whose tiles are blocks for a `FastWaveUNet`. They need no context and may be short.

    Later changes of the model's weights have no effect.
    """

    def __init__(self, model, tile_length: int | None = None):
        if tile_length is None:
            tile_length = max(1, min(BLOCK_SAMPLES, BLOCK_VALUES // model.config.values_per_sample))
        super().__init__(model, tile_length)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            self.network = FastWaveUNet(model.network, model.filter_bank)
        self.streams: list[_FrameStream | _BandStream] | None = None  # one for every group of channels
        self.entered = -self.trim  # the samples before this one went into the network
        self.predicted: Tensor | None = None  # (B, P, C, n), from `finished` on

    def push(self, block: Tensor) -> Tensor:
        self._receive(block)
        # A little more than a block goes in one piece, so that a long signal leaves no short rest.
        while self.received - self.entered >= self.tile_length + self.tile_length // 4:
            self._enter(self.tile_length)
        sources = self._finish(self.received - self.silence_radius)
        self._forget()
        return sources

    def flush(self) -> Tensor:
        self._check_started()
        if self.finished < self.received:
            rest = self.model.config.input_length_for(self.received) - self.entered - self.trim
            self._enter(rest, last=True)
        return self._finish(self.received)

    def _enter(self, length: int, last: bool = False) -> None:
        """Sends the next `length` samples through the network. Missing samples at the end count as zeros."""
        batch, channels = self.buffer.shape[:2]
        offset = self.entered - self.buffer_start
        block = self.buffer[..., offset : offset + length].to(self.model.device)
        block = torch.nn.functional.pad(block, (0, length - block.shape[-1]))
        rows = group_channels(block * self.gain, self.model.config.channels).mT  # (rows, length, group)
        if self.model.config.average_polarity_flip:
            rows = torch.cat([rows, -rows])
        if self.streams is None:
            self.streams = [self.network.stream() for _ in rows]
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            predicted = torch.stack([stream.push(row, last) for stream, row in zip(self.streams, rows)])
        predicted = predicted.mT.unflatten(1, (-1, rows.shape[-1])).to(self.buffer.device, self.buffer.dtype)
        if self.model.config.average_polarity_flip:
            original, flipped = predicted.chunk(2)
            predicted = (original - flipped) / 2
        predicted = self._undo_gain(ungroup_channels(predicted, batch, channels))
        self.predicted = predicted if self.predicted is None else torch.cat([self.predicted, predicted], dim=-1)
        self.entered += length

    def _finish(self, end: int) -> Tensor:
        """Returns the sources (B, K, C, n) of what is predicted before the sample `end`."""
        if self.predicted is None or (length := min(end - self.finished, self.predicted.shape[-1])) < 1:
            return self._join([])
        at, radius = self.finished - self.buffer_start, min(self.silence_radius, self.finished + self.trim)
        window = self.buffer[..., at - radius : at + length + self.silence_radius]
        predicted, self.predicted = self.predicted[..., :length], self.predicted[..., length:].clone()
        self.finished += length
        return self._complete(predicted, window, radius)

    def _needed_from(self) -> int:
        return min(self.entered, max(self.finished - self.silence_radius, -self.trim))


class FastWaveUNet:
    """The weights of a network, arranged to run without gradients on a processor.

        >>> stream = FastWaveUNet(network).stream()
        >>> stream.push(block)             # (n, C) → the predicted sources (m, P·C) that are finished
        >>> stream.push(block, last=True)  # the remaining ones

    The length of the whole signal must be on the network's grid (`config.input_length_for`).
    """

    def __init__(self, network, filter_bank: FilterBank | None = None):
        self.filter_bank = filter_bank
        self.dtype = network.bottleneck[0].weight.dtype
        bottleneck, (output, self.activation) = network.bottleneck[0], network.output_layer
        slope, fused = network.bottleneck[1].negative_slope, has_fused_convolution(bottleneck.weight)
        self.padded = bottleneck.padding == "same"
        convolutions = [*network.encoder, bottleneck]
        steps = [max(1, LENGTH_STEP >> level) for level in range(len(convolutions))]
        self.encoder = [
            FrameConvolution(conv.weight, conv.bias, slope, fused, step) for conv, step in zip(convolutions, steps)
        ]
        self.decoder = [
            _StackedConvolution(block, slope, fused, step, below)
            for block, step, below in zip(network.decoder, steps[-2::-1], steps[:0:-1])
        ]
        features = network.decoder[-1].out_channels
        self.output = FrameConvolution(output.weight[:, :features], output.bias, fused=fused, length_step=steps[0])
        self.output_of_mixture = output.weight.detach()[:, features:, 0].T  # (C, P·C)

    def stream(self) -> "_FrameStream | _BandStream":
        return _FrameStream(self) if self.filter_bank is None else _BandStream(self, self.filter_bank)


class _BandStream:
    """One signal on its way through the filter bank, a [`_FrameStream`] of its bands, and the filter bank again."""

    def __init__(self, network: FastWaveUNet, bank: FilterBank):
        self.bank, self.network, self.inner = bank, network, _FrameStream(network)
        cropped, reach = self.inner.cropped, REACH - bank.padding  # frames that each half of the bank cuts off
        self.samples, self.bands = FrameQueue(cropped + 2 * reach), FrameQueue(cropped)
        self.split: _SlidingConvolution | None = None
        self.join: _SlidingConvolution | None = None

    def push(self, block: Tensor, last: bool = False) -> Tensor:
        """Takes the next samples (n, C), n a multiple of M. Returns the finished samples (m, P·C)."""
        samples, channels = block.unflatten(0, (-1, self.bank.bands)).transpose(1, 2).flatten(1), block.shape[1]
        if self.split is None:
            self.split = self._convolution(0, channels, block)
        bands = self.split.push(samples, last)
        self.samples.append(samples)
        self.bands.append(bands)
        predicted = self.inner.push(bands, last).to(block.dtype)
        if len(predicted):  # what is not reconstructed goes to the first source, as in `FilterBank.join_predicted`
            width = samples.shape[1]
            predicted = torch.cat(
                [predicted[:, :width] - self.bands.take(len(predicted)), predicted[:, width:]], dim=1
            )
        if self.join is None:
            self.join = self._convolution(1, self.network.output.out_channels // self.bank.bands, block)
        joined = self.join.push(predicted, last)
        if len(joined):
            joined[:, : samples.shape[1]] += self.samples.take(len(joined))
        return joined.unflatten(1, (-1, self.bank.bands)).transpose(1, 2).flatten(0, 1)

    def _convolution(self, half: int, channels: int, like: Tensor) -> "_SlidingConvolution":
        kernel = torch.from_numpy(frame_kernels(self.bank.bands)[half]).to(like)
        size = len(kernel)
        weight = kernel.new_zeros(channels, size, channels, size, kernel.shape[-1])
        for channel in range(channels):  # each channel by itself
            weight[channel, :, channel] = kernel
        return _SlidingConvolution(
            FrameConvolution(weight.flatten(2, 3).flatten(0, 1)), self.bank.padding, self.bank.padding
        )


class _FrameStream:
    """One signal on its way through a `FastWaveUNet`. Frames (n, C) are n steps of a level with C channels."""

    def __init__(self, network: FastWaveUNet):
        self.network, padded, layers = network, network.padded, len(network.decoder)
        down, up = network.encoder[0].size // 2, network.decoder[0].skip.size // 2
        padding = down if padded else 0
        self.encoder = [_SlidingConvolution(convolution, padding, padding) for convolution in network.encoder]
        self.lengths = [0] * layers  # how long the skips are so far
        self.decoder = []
        for level, stacked in zip(reversed(range(layers)), network.decoder):
            steps = 2 ** (layers - level)  # steps of this level for one step of the bottleneck
            # How many frames of the skip come before the first upsampled frame.
            cropped = 0 if padded else 2 * (steps - 1) * down + (steps - 2) * up
            self.decoder.append(_Decoder(stacked, padded, cropped))
        steps = 2**layers
        self.cropped = 0 if padded else (2 * steps - 1) * down + (steps - 1) * up  # frames of the mixture
        self.mixture = FrameQueue(self.cropped)

    def push(self, block: Tensor, last: bool = False) -> Tensor:
        """Takes the next frames (n, C) of the mixture. Returns the finished frames (m, P·C) of predicted sources."""
        frames = block.to(self.network.dtype)
        self.mixture.append(frames)
        for level, decoder in enumerate(reversed(self.decoder)):
            skip = self.encoder[level].push(frames, last)
            decoder.skips.append(skip)
            frames = skip[self.lengths[level] % 2 :: 2]
            self.lengths[level] += len(skip)
        frames = self.encoder[-1].push(frames, last)  # the bottleneck
        for decoder in self.decoder:
            frames = decoder.push(frames, last)
        if not len(frames):
            return frames.new_zeros(0, self.network.output.out_channels)
        predicted = self.network.output(frames)
        predicted.addmm_(self.mixture.take(len(frames)), self.network.output_of_mixture)
        return self.network.activation(predicted)


class _Decoder:
    """An upsampling block for frames that come in blocks: upsampling, then convolution of the stack with the skip."""

    def __init__(self, stacked: "_StackedConvolution", padded: bool, cropped: int):
        self.stacked, self.half = stacked, stacked.skip.size // 2
        self.padding = self.half if padded else 0
        self.upsampled = _SlidingConvolution(stacked.upsampled, *reach(self.half))
        self.skips = FrameQueue(cropped)
        self.skips.append(stacked.skip.zeros(self.padding))
        self.received = self.woven = 0
        self.ends: list[Tensor] = []  # the first and the last frame

    def push(self, frames: Tensor, last: bool) -> Tensor:
        if len(frames):
            self.ends = [self.ends[0] if self.ends else frames[0].clone(), frames[-1].clone()]
        self.received += len(frames)
        both = self.upsampled.push(frames, last)
        woven = both.view(2 * len(both), both.shape[1] // 2)
        start, self.woven = self.woven, self.woven + len(woven)  # woven[0] is step `start` of the whole signal
        first = self.half - self.padding
        end = 2 * self.received - 1 - first if last else self.woven
        if self.padding:
            self._correct(woven, start, end if last else None)
        woven = woven[max(first - start, 0) : max(end - start, 0)]
        if last:
            self.skips.append(self.stacked.skip.zeros(self.padding))
        if not len(woven):
            return woven
        convolution, count = self.stacked.skip, len(woven) + 2 * self.half
        surplus = convolution.surplus(count)
        frames = self.skips.take(count, 2 * self.half, convolution.zeros(surplus))
        return convolution.cropped(frames, surplus, onto=woven)

    def _correct(self, woven: Tensor, start: int, end: int | None) -> None:
        """Corrects the steps near both ends: beyond them the interpolated signal is zero."""
        count = min(self.half - start, len(woven))
        if count > 0:
            woven[:count] -= self.stacked.before_start(self.ends[0])[start : start + count]
        if end is not None:
            count = min(self.half, end)
            woven[end - count - start : end - start] -= self.stacked.after_end(self.ends[1])[-count:]


class _SlidingConvolution:
    """A convolution of frames that come in blocks, with zeros before the first and after the last one."""

    def __init__(self, convolution: FrameConvolution, before: int, after: int):
        self.convolution, self.after, self.queue = convolution, after, FrameQueue()
        self.queue.append(convolution.zeros(before))

    def push(self, frames: Tensor, last: bool) -> Tensor:
        self.queue.append(frames)
        if last:
            self.queue.append(self.convolution.zeros(self.after))
        overlap = self.convolution.size - 1
        if self.queue.length <= overlap:
            return frames.new_zeros(0, self.convolution.out_channels)
        surplus = self.convolution.surplus(self.queue.length)
        frames = self.queue.take(self.queue.length, overlap, self.convolution.zeros(surplus))
        return self.convolution.cropped(frames, surplus)


class _StackedConvolution:
    """The weights of an upsampling block, one convolution for the upsampled features and one for the skip."""

    def __init__(self, block: nn.Conv1d, slope: float, fused: bool, step: int, step_below: int):
        channels = block.in_channels - block.out_channels
        weight = block.weight.detach()[:, :channels]  # for the upsampled features
        self.share = share_of_left(block, weight)
        taps, half = weight.permute(2, 0, 1), weight.shape[-1] // 2
        self.first_taps, self.last_taps = taps[:half].contiguous(), taps[half + 1 :].contiguous()
        folded = fold_upsampling(weight, self.share)
        self.upsampled = FrameConvolution(folded, fused=fused, length_step=step_below)
        self.skip = FrameConvolution(block.weight[:, channels:], block.bias, slope, fused, step)

    def before_start(self, first: Tensor) -> Tensor:
        """What the folded kernels add to the first k // 2 steps for zeros before the first frame: (k // 2, C')."""
        return (self.first_taps @ (first * (1 - self.share))).flip(0)

    def after_end(self, last: Tensor) -> Tensor:
        """What the folded kernels add to the last k // 2 steps for zeros after the last frame: (k // 2, C')."""
        return (self.last_taps @ (last * self.share)).flip(0)
