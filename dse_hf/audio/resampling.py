"""Changes of the sampling rate, of streams and of whole signals."""

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray, rate: int, new_rate: int, length: int | None = None) -> NDArray:
    """Signals (T, C) at `rate` Hz → (T', C) at `new_rate` Hz, in the same dtype.

    With `length`, the result is cut, or filled up with zeros, to that many samples. Equal rates change nothing else.
    """
    if rate != new_rate:
        samples = soxr.resample(np.ascontiguousarray(samples), rate, new_rate)
    if length is not None:
        samples = np.pad(samples[:length], ((0, max(0, length - len(samples))), (0, 0)))
    return samples


class Resampler:
    """Changes the sampling rate of a stream of blocks (n, channels) float32; sample t stays at its time.

    Args:
        input_rate, output_rate (`int`): in Hz. Equal ones leave the blocks as they are.
        channels (`int`): of the blocks.
    """

    def __init__(self, input_rate: int, output_rate: int, channels: int):
        self.input_rate, self.output_rate, self.channels = input_rate, output_rate, channels
        self._received = self._given = 0
        self._stream = None
        if input_rate != output_rate:
            self._stream = soxr.ResampleStream(input_rate, output_rate, channels, "float32", quality="VHQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """Adds a block (n, channels) and returns what is finished, (m, channels)."""
        self._received += len(block)
        if self._stream is not None:
            block = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        self._given += len(block)
        return block

    def flush(self, total: int | None = None) -> np.ndarray:
        """The rest, `total` frames in all (default: the input's length at the new rate, rounded up)."""
        if total is None:
            total = -(-self._received * self.output_rate // self.input_rate)
        rest = np.zeros((0, self.channels), np.float32)
        if self._stream is not None:
            # Silence behind the end, because soxr may stop one sample short.
            silence = np.zeros((self.input_rate // self.output_rate + 2, self.channels), np.float32)
            rest = self._stream.resample_chunk(silence, last=True)
        missing = max(0, total - self._given)
        rest = np.pad(rest[:missing], ((0, max(0, missing - len(rest))), (0, 0)))
        self._given += len(rest)
        return rest
