"""Separation of signals of any length by exact tiles: no cross-fade, no clicks, constant memory."""

from numbers import Integral

import numpy as np
import torch
from torch import Tensor


# Windows that go through the network together, in samples of all rows: bounds memory for many channels.
MAX_SAMPLES_AT_ONCE = 1 << 22
# The same in values of the network's widest layer: bounds memory for wide networks.
MAX_VALUES_AT_ONCE = 1 << 27


def center_crop(input: Tensor, target_shape: int) -> Tensor:
    """The middle `target_shape` samples of the last axis; of an odd surplus, the odd one goes at the end."""
    start = (input.shape[-1] - target_shape) // 2
    return input[..., start : start + target_shape]


def in_silence(signal: Tensor, radius: int) -> Tensor:
    """Where a signal (…, T) is zero for at least `radius` samples on both sides, beyond its ends as well."""
    length = signal.shape[-1]
    not_zero = torch.nn.functional.pad((signal != 0).cumsum(dim=-1), (1, 0))  # among the samples before each one
    positions = torch.arange(length, device=signal.device)
    before, after = (positions - radius).clamp(min=0), (positions + radius + 1).clamp(max=length)
    return not_zero[..., after] == not_zero[..., before]


class SeparationStream:
    r"""
    Takes blocks of a signal in any size and gives back the sources of what is finished.

    An output sample depends on a known stretch of the input only. So a window of the input that starts on the
    network's grid (a multiple of `config.alignment`) and reaches `config.context` samples beyond both ends of the
    samples that are kept gives the very samples that one pass over the whole signal would give:

        signal    ──────────────────────────────────────────────────────▶ time
        window 1  [context|  kept  |context]
        window 2           [context|  kept  |context]
        sources             ────────  ────────

    Beyond its ends the signal counts as zeros where the network cuts its context off itself
    (`config.zero_extended`); otherwise the network's own padding stands there, as in one pass.

    Args:
        model: a model with [`SeparationMixin`].
        tile_length (`int`, *optional*): samples kept of each window, rounded up to the network's grid. By default
            twenty-four times the context, and at least ten seconds: then less than a tenth is computed twice; less
            where the network is so wide that such a window would fill the memory.
    """

    def __init__(self, model: "SeparationMixin", tile_length: int | None = None):
        config = model.config
        self.model = model
        self.alignment, self.context = config.alignment, config.context
        # Samples that the network itself cuts off each end of a window.
        self.trim = self.context if config.zero_extended else 0
        if tile_length is None:
            tile_length = max(24 * self.context, 10 * config.sampling_rate)
            tile_length = min(tile_length, max(1, MAX_VALUES_AT_ONCE // config.values_per_sample - 2 * self.context))
        if not isinstance(tile_length, Integral) or tile_length < 1:
            raise ValueError(f"tile_length={tile_length!r}: must be a whole number of samples, at least 1")
        self.tile_length = -(-tile_length // self.alignment) * self.alignment
        # Nothing comes of nothing: the biases of a network would hum in digital silence. What is that far from it:
        self.silence_radius = min(self.context, config.sampling_rate // 100)
        self.buffer: Tensor | None = None  # (B, C, n): the input from `buffer_start` on
        self.buffer_start = -self.trim
        self.received = 0
        self.finished = 0

    def push(self, block: Tensor) -> Tensor:
        """Adds `block` (B, C, n), n ≥ 0, and returns the sources (B, K, C, m) that it finishes, m ≥ 0."""
        self._receive(block)
        tiles = []
        while self._end_of_window(self.tile_length) <= self.received:
            tiles.append(self._separate_next(self.tile_length))
        self._forget()
        return self._join(tiles)

    def flush(self) -> Tensor:
        """Ends the signal and returns the sources (B, K, C, m) of all that is left."""
        self._check_started()
        tiles = []
        while self.finished < self.received:
            tiles.append(self._separate_next(min(self.tile_length, self.received - self.finished)))
        return self._join(tiles)

    def _receive(self, block: Tensor) -> None:
        if self.buffer is None:
            self.buffer = block.new_zeros(*block.shape[:-1], self.trim)
        elif block.shape[:-1] != self.buffer.shape[:-1]:
            raise ValueError(
                f"block of shape {tuple(block.shape)}: earlier blocks had batch and channels "
                f"{tuple(self.buffer.shape[:-1])}"
            )
        self.buffer = torch.cat([self.buffer, block], dim=-1)
        self.received += block.shape[-1]

    def _check_started(self) -> None:
        if self.buffer is None:
            raise ValueError("nothing was pushed: push at least one block before flush")

    def _end_of_window(self, length: int) -> int:
        """Where the input ends that the next `length` samples depend on."""
        if self.trim:  # its last samples may reach beyond the context, to the next step of the network's grid
            return self.finished - self.context + self.model.config.input_length_for(length)
        return self.finished + length + self.context

    def _separate_next(self, length: int) -> Tensor:
        """Sources (B, K, C, length) of the samples that follow the finished ones."""
        config = self.model.config
        start = max(self.finished - self.context, -self.trim)
        if self.trim:
            window_length = config.input_length_for(length)
        else:  # the signal's end, or a context of real signal, lies behind the kept samples
            end = min(self._end_of_window(length), self.received)
            window_length = config.input_length_for(end - start)
        offset = start - self.buffer_start
        window = self.buffer[..., offset : offset + window_length]
        missing = window_length - window.shape[-1]
        if missing:
            window = torch.nn.functional.pad(window, (0, missing))
        kept = self.finished - start - self.trim
        mixture_at = self.finished - self.buffer_start
        mixture = self.buffer[..., mixture_at : mixture_at + length]
        self.finished += length
        sources = self.model._separate_rows(window, mixture, kept)
        return self._silence(sources, window, kept + self.trim)

    def _silence(self, sources: Tensor, window: Tensor, first: int) -> Tensor:
        """Sources (B, K, C, n) of a window (B, C, T) from `first` on, zero where it is silent."""
        silent = in_silence(window, self.silence_radius)[..., first : first + sources.shape[-1]]
        return sources.masked_fill(silent[:, None], 0.0)

    def _needed_from(self) -> int:
        """The first sample of the input that later windows reach."""
        return max(self.finished - self.context, -self.trim)

    def _forget(self) -> None:
        """Drops the input that no later window reaches."""
        start = self._needed_from()
        self.buffer = self.buffer[..., start - self.buffer_start :].clone()
        self.buffer_start = start

    def _join(self, tiles: list[Tensor]) -> Tensor:
        if tiles:
            return torch.cat(tiles, dim=-1)
        batch, channels = self.buffer.shape[:2]
        return self.buffer.new_zeros(batch, len(self.model.config.sources), channels, 0)


class SeparationMixin:
    """Gives a model `separate`. The model has `separate_window`; its config the length rule, `sources`,
    `channels` and `sampling_rate`."""

    def separate(self, waveform: Tensor, sampling_rate: int, tile_length: int | None = None) -> dict[str, Tensor]:
        r"""
        Separates a signal of any length, from one sample up.

        Args:
            waveform (`torch.Tensor` or `numpy.ndarray` of shape `(C, T)` or `(B, C, T)`):
                Floating-point samples, full scale ±1. Any number of channels: a mono model runs on each one, a
                stereo model on pairs.
            sampling_rate (`int`): of the waveform, in Hz; must be the model's.
            tile_length (`int`, *optional*): samples separated at a time; the result does not depend on it.

        Returns:
            `dict[str, torch.Tensor]`: for every name in `config.sources` a tensor of the input's shape, dtype and
            device. They sum to the input within rounding.

        Raises:
            ValueError: the waveform is empty, of another shape or dtype, holds NaN or infinity, is too loud for the
                model's dtype, or has another sampling rate than the model.
        """
        waveform = self._checked_waveform(waveform, sampling_rate)
        batch = waveform if waveform.dim() == 3 else waveform[None]
        stream = self.separation_stream(tile_length)
        sources = torch.cat([stream.push(batch), stream.flush()], dim=-1)
        if not torch.isfinite(sources).all():
            raise ValueError(
                f"the model gives NaN or infinity for a waveform of peak {waveform.abs().max():.3g}: bring it to "
                "full scale ±1, or load the model with dtype float32"
            )
        sources = sources if waveform.dim() == 3 else sources[0]
        return dict(zip(self.config.sources, sources.unbind(dim=-3)))

    def separation_stream(self, tile_length: int | None = None) -> SeparationStream:
        """A [`SeparationStream`] of this model: the engine under `separate`, for signals that come in blocks."""
        return SeparationStream(self, tile_length)

    def separate_window(self, window: Tensor) -> Tensor:
        """Sources (B, K, channels, T') of a window (B, channels, T) in the caller's dtype, its length on the grid."""
        raise TypeError(f"{type(self).__name__} does not define separate_window")

    @torch.no_grad()
    def _separate_rows(self, window: Tensor, mixture: Tensor, kept: int) -> Tensor:
        """Sources (B, K, C, n) of a window (B, C, T) of any batch and channels.

        `mixture` (B, C, n) is the input at the samples that are kept, the first one being `kept` of the output.
        """
        (batch, channels, length), group = mixture.shape, self.config.channels
        rows = group_channels(window, group)
        most = min(MAX_SAMPLES_AT_ONCE // group, MAX_VALUES_AT_ONCE // self.config.values_per_sample)
        at_once = max(1, most // rows.shape[-1])
        training = self.training
        self.eval()
        try:
            parts = (part.to(self.device) for part in rows.split(at_once))
            outputs = [self.separate_window(part)[..., kept : kept + length] for part in parts]
        finally:
            self.train(training)
        sources = torch.cat(outputs).to(mixture.device, mixture.dtype)
        sources = ungroup_channels(sources, batch, channels)
        return self.complete_sources(sources if self._predicts_all() else sources[:, :-1], mixture)

    def _predicts_all(self) -> bool:
        return getattr(self.config, "output", "difference") == "direct"

    def complete_sources(self, predicted: Tensor, mixture: Tensor) -> Tensor:
        """All sources (B, K, C, n), which sum to the mixture (B, C, n), of those that the network predicts."""
        if self._predicts_all():
            # Mixture consistency (Wisdom et al. 2019): a model of direct outputs leaves a rest, which all share.
            rest = mixture - predicted.sum(dim=1)
            predicted = (predicted + rest[:, None] / predicted.shape[1])[:, :-1]
        # The last one as a difference in the caller's precision: the sum is the input whatever the model's dtype.
        last = mixture - predicted.sum(dim=1)
        return torch.cat([predicted, last[:, None]], dim=1)

    def _wants_hidden_states(self, output_hidden_states: bool | None) -> bool:
        return self.config.output_hidden_states if output_hidden_states is None else output_hidden_states

    def _checked_waveform(self, waveform, sampling_rate) -> Tensor:
        wanted = "a floating-point tensor of shape (channels, samples) or (batch, channels, samples), full scale ±1"
        if not isinstance(waveform, Tensor):
            try:
                if isinstance(waveform, np.ndarray):  # as torch takes it: its rows may run backwards in memory
                    waveform = np.require(waveform, waveform.dtype.newbyteorder("="), ["C", "W", "A"])
                waveform = torch.as_tensor(waveform)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"waveform of type {type(waveform).__name__}: give {wanted}") from error
        if not waveform.is_floating_point():
            raise ValueError(f"waveform of dtype {waveform.dtype}: give {wanted} (int16 samples: divide by 32768)")
        if waveform.layout != torch.strided or waveform.is_meta:
            raise ValueError(f"waveform of layout {waveform.layout} on device {waveform.device}: give {wanted}")
        if waveform.dim() not in (2, 3):
            hint = "; for mono, waveform[None]" if waveform.dim() == 1 else ""
            raise ValueError(f"waveform of shape {tuple(waveform.shape)}: give {wanted}{hint}")
        if waveform.numel() == 0:
            raise ValueError(f"waveform of shape {tuple(waveform.shape)} is empty: give at least one sample")
        if sampling_rate != self.config.sampling_rate:
            raise ValueError(
                f"sampling_rate={sampling_rate}: this model separates audio at {self.config.sampling_rate} Hz; "
                "resample the waveform first (the pipeline and `dse-hf separate` do it for you)"
            )
        finite = torch.isfinite(waveform)
        if not finite.all():
            first = (~finite).nonzero()[0].tolist()
            raise ValueError(
                f"waveform holds NaN or infinity in {int((~finite).sum())} of {waveform.numel()} samples, "
                f"the first at index {tuple(first)}: repair or drop them"
            )
        return waveform


def mean_squared_error(sources: Tensor, labels: Tensor, padding_mask: Tensor | None = None) -> Tensor:
    """Of sources (B, K, C, T') to labels (B, K, C, T), or (B, C, T) for the first one, where the mask (B, T) is 1."""
    batch, num_sources, channels, length = sources.shape
    estimates = sources[:, 0] if labels.dim() == 3 else sources
    if labels.shape[:-1] != estimates.shape[:-1] or labels.shape[-1] < length:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)}: give ({batch}, {num_sources}, {channels}, T) for all "
            f"sources or ({batch}, {channels}, T) for the foreground, with T ≥ {length}"
        )
    labels = center_crop(labels, length)
    if padding_mask is None:
        return torch.nn.functional.mse_loss(estimates, labels)
    if padding_mask.dim() != 2 or padding_mask.shape[0] != batch or padding_mask.shape[1] < length:
        raise ValueError(f"padding_mask of shape {tuple(padding_mask.shape)}: give ({batch}, T), T ≥ {length}")
    counts = center_crop(padding_mask, length).bool()  # (B, T')
    errors = (estimates - labels).square().flatten(1, -2).mean(dim=1)  # (B, T')
    return errors[counts].mean()


def group_channels(window: Tensor, group: int) -> Tensor:
    """(B, C, T) → (B·G, group, T): consecutive channels together, the last one repeated to fill the last group."""
    channels, length = window.shape[1:]
    missing = -channels % group
    if missing:
        window = torch.cat([window, window[:, -1:].expand(-1, missing, -1)], dim=1)
    return window.reshape(-1, group, length)


def ungroup_channels(sources: Tensor, batch: int, channels: int) -> Tensor:
    """(B·G, K, group, T) → (B, K, C, T): undoes `group_channels`."""
    rows, num_sources, group, length = sources.shape
    sources = sources.reshape(batch, rows // batch, num_sources, group, length).transpose(1, 2)
    return sources.reshape(batch, num_sources, rows // batch * group, length)[:, :, :channels]
