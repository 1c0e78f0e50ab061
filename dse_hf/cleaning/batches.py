"""Sends the tiles of several rows through the network together, for devices that short rows would leave idle."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..audio import AudioError, read_audio
from ..models.modeling_separation_stream import SeparationStream
from .rows import FirstAndRest


LONGEST = 600.0  # seconds of a row that is held in memory; longer ones go through the network block by block


class TogetherModel:
    """Separates rows together. Their tiles are those of a [`SeparationStream`], grouped by length."""

    def __init__(self, model):
        self.model = model

    def prepared(self, sources: Sequence[Callable[[], bytes | str]], otherwise, pool: Executor) -> list:
        """A model for `separate_file` for each row, which has that row's result already.

        A row that cannot be read, or is very long, gets the model `otherwise`.
        """
        waveforms = list(pool.map(self._read, sources))
        estimates = iter(self.estimates([waveform for waveform in waveforms if waveform is not None]))
        return [
            otherwise if waveform is None else _KnownResult(self.model.config, next(estimates))
            for waveform in waveforms
        ]

    def _read(self, source: Callable[[], bytes | str]) -> Tensor | None:
        try:
            samples = read_audio(source(), self.model.config.sampling_rate, max_seconds=LONGEST)
        except AudioError:
            return None  # `separate_file` will say what is wrong
        whole = len(samples) < LONGEST * self.model.config.sampling_rate
        return torch.from_numpy(samples.T.copy()) if whole else None

    @torch.no_grad()
    def estimates(self, waveforms: Iterable[Tensor]) -> list[Tensor]:
        """Separates waveforms (C, n) of any lengths. Returns the first source (1, C, n) of each."""
        streams = []
        for waveform in waveforms:
            stream = _TileStream(self.model)
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
    """A window (1, C, T) of a row. `length` samples of the network's output are wanted, from `kept` on."""

    window: Tensor
    kept: int
    length: int
    first: int = 0  # of the window, which they begin at
    predicted: Any = None


class _TileStream(SeparationStream):
    """Collects the tiles of a signal instead of separating them."""

    last_source = False

    def __init__(self, model):
        super().__init__(_Collector(model))
        self.network, self.tiles = model, self.model.tiles

    def _complete(self, predicted: Tensor, window: Tensor, first: int) -> Tensor:
        self.tiles[-1].first = first
        return predicted

    def sources(self) -> Tensor:
        """All sources but the last (1, K - 1, C, n), when all tiles have their `predicted`."""
        self.model = self.network
        return self._join(
            [SeparationStream._complete(self, tile.predicted, tile.window, tile.first) for tile in self.tiles]
        )


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
