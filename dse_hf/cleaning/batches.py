"""Sends the tiles of several rows through the network together, for devices that short rows would leave idle."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import AudioError, AudioReader, Resampler
from ..models.modeling_level import LevelMeter, knows_every_level
from ..models.modeling_separation_stream import SeparationStream
from .rows import FirstAndRest


LONGEST = 600.0  # seconds of a row that is held in memory; longer ones go through the network block by block


class TogetherModel:
    """Separates rows together. Their tiles are those of a [`SeparationStream`], grouped by length."""

    def __init__(self, model):
        self.model = model

    def models(self, rows: Iterable[tuple[Tensor, float] | None], otherwise) -> list:
        """A model for `separate_file` for each row that was read, which has its result already.

        A row that cannot be read, or is very long, is `None`, and gets the model `otherwise`.
        """
        rows = list(rows)
        estimates = iter(self._estimates([row for row in rows if row is not None]))
        return [otherwise if row is None else _KnownResult(self.model.config, next(estimates)) for row in rows]

    def read(self, open_source: Callable[[], bytes | str]) -> tuple[Tensor, float] | None:
        """A row (C, n) at the rate of the model, and the factor for the network, as `separate_file` finds them."""
        config = self.model.config
        try:
            with AudioReader(open_source()) as reader:
                resampler = Resampler(reader.sampling_rate, config.sampling_rate, reader.channels)
                meter, blocks, frames = LevelMeter(reader.sampling_rate), [], 0
                for block in reader:
                    if not knows_every_level(config):
                        meter.add(torch.from_numpy(np.ascontiguousarray(block.T)))
                    blocks.append(resampler.push(block))
                    frames += len(block)
                    if frames > LONGEST * reader.sampling_rate:
                        return None
        except AudioError:
            return None  # `separate_file` will say what is wrong
        return torch.from_numpy(np.concatenate([*blocks, resampler.flush()]).T.copy()), meter.gain()

    @torch.no_grad()
    def _estimates(self, rows: Iterable[tuple[Tensor, float]]) -> list[Tensor]:
        """Separates rows of any lengths. Returns the first source (1, C, n) of each."""
        streams = []
        for waveform, gain in rows:
            stream = _TileStream(self.model)
            stream.gain = gain
            stream.push(waveform[None])
            stream.flush()
            streams.append(stream)
        groups = defaultdict(list)
        for stream in streams:
            for tile in stream.tiles:
                groups[tuple(tile.window.shape), tile.kept].append(tile)
        for (_, kept), tiles in groups.items():
            longest = max(tile.length for tile in tiles)
            windows = torch.cat([tile.window for tile in tiles])
            for tile, predicted in zip(tiles, self.model._predict_rows(windows, kept, longest).split(1)):
                tile.predicted = predicted[..., : tile.length]
        return [stream.sources()[0, :1] for stream in streams]


@dataclass
class _Tile:
    """A window (1, C, T) for the network. `length` samples of its output are wanted, from `kept` on."""

    window: Tensor
    kept: int
    length: int
    signal: Any = None  # the window before it was brought to the level of the network
    first: int = 0  # sample of the window that they begin at
    predicted: Any = None


class _TileStream(SeparationStream):
    """Collects the tiles of a signal instead of separating them."""

    last_source = False

    def __init__(self, model):
        super().__init__(_Collector(model))
        self.network, self.tiles = model, self.model.tiles

    def _complete(self, predicted: Tensor, window: Tensor, first: int) -> Tensor:
        self.tiles[-1].signal, self.tiles[-1].first = window, first
        return predicted

    def sources(self) -> Tensor:
        """All sources but the last (1, K - 1, C, n), when all tiles have their `predicted`."""
        self.model = self.network
        return self._join([self._completed(tile) for tile in self.tiles])

    def _completed(self, tile: _Tile) -> Tensor:
        return super()._complete(self._undo_gain(tile.predicted), tile.signal, tile.first)


class _Collector:
    """Stands for the model of a `_TileStream`, and keeps what the network is asked for."""

    def __init__(self, model):
        self.config, self.tiles = model.config, []

    def _predict_rows(self, window: Tensor, kept: int, length: int) -> Tensor:
        self.tiles.append(_Tile(window, kept, length))
        channels = window.shape[1]
        return window.new_empty(1, len(self.config.sources) - 1, channels, length)


class _KnownResult:
    """A model for `separate_file` whose result (1, C, n) for the one recording it gets is known."""

    def __init__(self, config, estimate: Tensor):
        self.config, self._estimate = FirstAndRest(config), estimate

    def separation_stream(self) -> "_KnownResult":
        return copy.copy(self)

    def push(self, block: Tensor) -> Tensor:
        return self._estimate[None, ..., :0]

    def flush(self) -> Tensor:
        return self._estimate[None]
