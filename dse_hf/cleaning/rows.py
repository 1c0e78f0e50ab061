"""Cleans rows, one by one or several at once. The results are those of `separate_file`."""

import copy
import math
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import AudioError, read_audio
from ..data.decoding import REASON_OF_WORDS, BadClipError
from ..errors import one_line
from ..evaluation.metrics import DNSMOS_RATE, METRICS, score_signal
from ..separate import separate_file
from .items import AudioItem
from .options import CleaningOptions
from .stable import stable


REST = "rest"  # of the mixture, without the first source


@dataclass
class CleanedRow:
    """A cleaned row: items for its columns, or why there are none. `seconds` is the length of its audio."""

    audio: Any = None
    background: Any = None
    error: str | None = None
    reason: str = ""  # the kind of error, for counts
    seconds: float = 0.0
    kind: str = ""  # see `AudioItem`
    level_change: float | None = None  # in dB
    before: float | None = None  # DNSMOS
    after: float | None = None


class RowCleaner:
    """Cleans the audio items of rows.

    Args:
        model: as [`load_model`] gives it.
        options (`CleaningOptions`): what to do.
        folder (`str`): where the paths of items begin, if they are relative.
        together (`bool`, *optional*): send rows through the network together. By default on any device but the CPU,
            where that is slower. Their results then equal those of `separate_file` within rounding, else to the bit.
    """

    at_once = 16  # rows between two reports of progress

    def __init__(self, model, options: CleaningOptions, folder: str = "", together: bool | None = None):
        self.options, self.folder = options, folder
        self.first = model.config.sources[0]
        self.one_by_one = RowModel(model)
        self.batches = None
        if together or (together is None and model.device.type != "cpu"):
            from .batches import TogetherModel

            self.batches, self.at_once = TogetherModel(model), 128

    def __call__(self, items: Sequence) -> list[CleanedRow]:
        """Cleans items. Each row depends on its own item alone."""
        return next(self.stream([items]))

    def stream(self, batches: Iterable[Sequence]) -> Iterator[list[CleanedRow]]:
        """Cleans batches of items one after another.

        Where rows go through the network together, the rows of the next batch are decoded and those of the last one
        encoded in the meantime.
        """
        if self.batches is None:
            for items in batches:
                yield [self._clean(item, self.one_by_one) for item in items]
            return
        with ThreadPoolExecutor() as pool:  # the work in it releases Python's lock
            waiting: deque = deque()  # batches, with their rows that are being decoded
            encoding: deque = deque()  # rows that are being encoded
            for items in chain(batches, [None]):
                if items is not None:
                    sources = [partial(self._source, item) for item in items]
                    waiting.append((items, pool.map(self.batches.read, sources)))
                if len(waiting) > 1 or (items is None and waiting):
                    ready, decoded = waiting.popleft()
                    models = self.batches.models(decoded, self.one_by_one)
                    encoding.append(pool.map(self._clean, ready, models))
                while len(encoding) > 1 or (items is None and encoding):
                    yield list(encoding.popleft())

    def _source(self, item) -> bytes | str:
        return AudioItem.open(item, self.folder).source

    def _clean(self, item, model) -> CleanedRow:
        try:
            opened = AudioItem.open(item, self.folder)
            source: Any = opened.source
            with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
                result = separate_file(
                    model,
                    source,
                    folder,
                    sources=[self.first] if self.options.background_column is None else None,
                    file_format=opened.file_format,
                    background_db=self.options.background_db,
                )
                contents = {name: stable(Path(path).read_bytes()) for name, path in result.outputs.items()}
        except (AudioError, ValueError, MemoryError) as error:
            return _failed(error)
        cleaned = contents[self.first]
        row = CleanedRow(opened.replaced(cleaned), seconds=result.seconds, kind=opened.kind)
        if REST in contents:
            row.background = opened.replaced(contents[REST])
        if self.options.has_scores:
            self._score(row, opened.source, cleaned, result.sampling_rate)
        return row

    def _score(self, row: CleanedRow, original: bytes | str, cleaned: bytes, sampling_rate: int) -> None:
        signals = [read_audio(source, DNSMOS_RATE).T for source in (original, cleaned)]
        levels = [float(np.mean(np.square(signal, dtype=np.float64))) for signal in signals]
        if all(levels):
            row.level_change = 10 * math.log10(levels[1] / levels[0])
        if METRICS["dnsmos"].is_defined_at(sampling_rate):
            row.before, row.after = (
                score_signal(signal, signal, signal, DNSMOS_RATE, ["dnsmos"])[0]["dnsmos"] for signal in signals
            )


class RowModel:
    """A model for `separate_file`. Arranging the weights costs as much as seconds of audio: all rows share that."""

    def __init__(self, model):
        self.config = FirstAndRest(model.config)
        self._unused = model.separation_stream()

    def separation_stream(self):
        return copy.copy(self._unused)  # it has received nothing, and its weights do not change


class FirstAndRest:
    """The config of a model whose sources are its first one, and the rest of the mixture."""

    def __init__(self, config):
        self.sources, self._config = [config.sources[0], REST], config

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._config, name)


def _failed(error: Exception) -> CleanedRow:
    message = "too long for the memory" if isinstance(error, MemoryError) else one_line(error)
    message = message.removeprefix("audio data: ").partition("; ")[0]  # without the advice
    reason = error.reason if isinstance(error, BadClipError) else "unreadable"
    reason = next((reason for words, reason in REASON_OF_WORDS.items() if words in message), reason)
    return CleanedRow(error=f"{reason}: {message}", reason=reason)
