"""Changes the sampling rate of streams and of whole signals."""

import numpy as np
import soxr
from numpy.typing import NDArray


def resample(samples: NDArray, rate: int, new_rate: int, length: int | None = None) -> NDArray:
    """Resamples a whole signal (T, C) from `rate` to `new_rate`, in Hz. Equal rates change nothing.

    Returns (T', C) in the same dtype. With `length`, the result is cut, or filled with zeros, to that many samples.
    """
    if rate != new_rate:
        samples = soxr.resample(np.ascontiguousarray(samples), rate, new_rate)
    if length is not None:
        samples = np.pad(samples[:length], ((0, max(0, length - len(samples))), (0, 0)))
    return samples


class Resampler:
    """Resamples a stream of blocks (n, channels) in float32. Every sample keeps its time.

    Args:
        input_rate, output_rate (`int`): the sampling rates before and after, in Hz. Equal rates change nothing.
        channels (`int`): the number of channels of the blocks.
    """

    def __init__(self, input_rate: int, output_rate: int, channels: int):
        self.input_rate, self.output_rate, self.channels = input_rate, output_rate, channels
        self._received = self._given = 0
        self._stream = None
        if input_rate != output_rate:
            self._stream = soxr.ResampleStream(input_rate, output_rate, channels, "float32", quality="VHQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes a block (n, channels) and returns the samples that are finished, (m, channels)."""
        self._received += len(block)
        if self._stream is not None:
            block = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        self._given += len(block)
        return block

    def flush(self, total: int | None = None) -> np.ndarray:
        """Returns the remaining samples, so that there are `total` of them with those that `push` returned.

        By default, `total` is the length of the input at the new rate, rounded up.
        """
        if total is None:
            total = -(-self._received * self.output_rate // self.input_rate)
        rest = np.zeros((0, self.channels), np.float32)
        if self._stream is not None:
            # soxr may stop one sample short, so it gets silence after the end.
            silence = np.zeros((self.input_rate // self.output_rate + 2, self.channels), np.float32)
            rest = self._stream.resample_chunk(silence, last=True)
        missing = max(0, total - self._given)
        rest = np.pad(rest[:missing], ((0, max(0, missing - len(rest))), (0, 0)))
        self._given += len(rest)
        return rest
