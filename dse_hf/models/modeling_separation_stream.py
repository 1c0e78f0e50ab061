"""Separation of signals that come in blocks, by windows whose tiles are exact."""

from numbers import Integral

import torch
from torch import Tensor

from .configuration_separation import check_separation_config


# How many values of the network's widest layer are computed at once. This bounds the memory for wide networks.
MAX_VALUES_AT_ONCE = 1 << 27


def in_silence(signal: Tensor, radius: int) -> Tensor:
    """Where a signal (…, T) is zero for at least `radius` samples on both sides. Beyond its ends it counts as zero."""
    length = signal.shape[-1]
    not_zero = torch.nn.functional.pad((signal != 0).cumsum(dim=-1), (1, 0))  # how many of the samples before each one
    positions = torch.arange(length, device=signal.device)
    before, after = (positions - radius).clamp(min=0), (positions + radius + 1).clamp(max=length)
    return not_zero[..., after] == not_zero[..., before]


class SeparationStream:
    r"""
    Takes blocks of a signal, of any size, and returns the sources of the samples that are finished.

    An output sample depends on a known stretch of the input. A window starts on the network's grid (a multiple of
    `config.alignment`) and reaches `config.context` samples beyond both ends of the samples that are kept. So it gives
    exactly the samples that one pass over the whole signal would give:

        signal    ──────────────────────────────────────────────────────▶ time
        window 1  [context|  kept  |context]
        window 2           [context|  kept  |context]
        sources             ────────  ────────

    Args:
        model: a model with [`SeparationMixin`].
        tile_length (`int`, *optional*): samples that are kept of each window, rounded up to the network's grid. The
            default is 24 times the context and at least ten seconds, so that less than a tenth is computed twice. It
            is shorter for wide networks, whose windows would fill the memory.

    Attributes:
        last_source (`bool`): whether the last source is returned too. Set it to `False` if you compute the last source
            yourself, at another sampling rate.
        gain (`float` or `torch.Tensor` of shape `(B, 1, 1)`): a factor for the network's input. The output is divided
            by it. `separate` and `separate_file` measure it with [`LevelMeter`]. For blocks of a recording that is
            quieter than -40 dBFS or exceeds full scale, set it before the first `push`.
    """

    last_source = True
    gain: float | Tensor = 1.0

    def __init__(self, model, tile_length: int | None = None):
        config = model.config
        check_separation_config(config)
        self.model = model
        self.alignment, self.context = config.alignment, config.context
        # How many samples the network itself cuts off at each end of a window.
        self.trim = self.context if config.zero_extended else 0
        if tile_length is None:
            tile_length = max(24 * self.context, 10 * config.sampling_rate)
            tile_length = min(tile_length, max(1, MAX_VALUES_AT_ONCE // config.values_per_sample - 2 * self.context))
        if not isinstance(tile_length, Integral) or tile_length < 1:
            raise ValueError(f"tile_length={tile_length!r}: must be a whole number of samples, at least 1")
        self.tile_length = -(-tile_length // self.alignment) * self.alignment
        # Digital silence stays silent: the biases of a network would make it hum. It begins this far from any sound.
        self.silence_radius = min(self.context, config.sampling_rate // 100)
        self.started = False
        self.buffer = torch.empty(0)  # (B, C, n), the input from `buffer_start` on
        self.buffer_start = -self.trim
        self.received = 0
        self.finished = 0

    def push(self, block: Tensor) -> Tensor:
        """Adds a `block` (B, C, n), n ≥ 0. Returns the sources (B, K, C, m) that this finishes, m ≥ 0."""
        self._receive(block)
        tiles = []
        while self._end_of_window(self.tile_length) <= self.received:
            tiles.append(self._separate_next(self.tile_length))
        self._forget()
        return self._join(tiles)

    def flush(self) -> Tensor:
        """Ends the signal. Returns the sources (B, K, C, m) of the remaining samples."""
        self._check_started()
        tiles = []
        while self.finished < self.received:
            tiles.append(self._separate_next(min(self.tile_length, self.received - self.finished)))
        return self._join(tiles)

    def _receive(self, block: Tensor) -> None:
        if not self.started:
            self.started, self.buffer = True, block.new_zeros(*block.shape[:-1], self.trim)
        elif block.shape[:-1] != self.buffer.shape[:-1]:
            raise ValueError(
                f"block of shape {tuple(block.shape)}: earlier blocks had batch and channels "
                f"{tuple(self.buffer.shape[:-1])}"
            )
        self.buffer = torch.cat([self.buffer, block], dim=-1)
        self.received += block.shape[-1]

    def _check_started(self) -> None:
        if not self.started:
            raise ValueError("nothing was pushed: push at least one block before flush")

    def _end_of_window(self, length: int) -> int:
        """The end of the input that the next `length` samples depend on."""
        if self.trim:  # the window ends on the network's grid, which may lie beyond the context
            return self.finished - self.context + self.model.config.input_length_for(length)
        return self.finished + length + self.context

    def _separate_next(self, length: int) -> Tensor:
        """Returns the sources (B, K, C, length) of the samples after the finished ones."""
        config = self.model.config
        start = self._needed_from()
        if self.trim:
            window_length = config.input_length_for(length)
        else:  # a context of real signal follows the kept samples, or the end of the signal
            end = min(self._end_of_window(length), self.received)
            window_length = config.input_length_for(end - start)
        offset = start - self.buffer_start
        window = self.buffer[..., offset : offset + window_length]
        window = torch.nn.functional.pad(window, (0, window_length - window.shape[-1]))
        kept = self.finished - start - self.trim
        self.finished += length
        predicted = self._undo_gain(self.model._predict_rows(window * self.gain, kept, length))
        return self._complete(predicted, window, kept + self.trim)

    def _undo_gain(self, predicted: Tensor) -> Tensor:
        """Divides predicted sources (B, P, C, n) by the gain."""
        return predicted / (self.gain[:, None] if isinstance(self.gain, Tensor) else self.gain)

    def _complete(self, predicted: Tensor, window: Tensor, first: int) -> Tensor:
        """Makes all sources of the predicted ones, which begin at `first` of a window. Silence in it stays silent."""
        kept = slice(first, first + predicted.shape[-1])
        sources = self.model.complete_sources(predicted, window[..., kept], self.last_source)
        return sources.masked_fill(in_silence(window, self.silence_radius)[:, None, :, kept], 0.0)

    def _needed_from(self) -> int:
        """The first sample of the input that later windows need."""
        return max(self.finished - self.context, -self.trim)

    def _forget(self) -> None:
        """Drops the input that no later window needs."""
        start = self._needed_from()
        self.buffer = self.buffer[..., start - self.buffer_start :].clone()
        self.buffer_start = start

    def _join(self, tiles: list[Tensor]) -> Tensor:
        if tiles:
            return torch.cat(tiles, dim=-1)
        batch, channels = self.buffer.shape[:2]
        sources = len(self.model.config.sources) - (not self.last_source)
        return self.buffer.new_zeros(batch, sources, channels, 0)
