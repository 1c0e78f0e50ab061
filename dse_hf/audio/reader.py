"""Reads whole audio files. The reader of blocks is with the models, as the pipeline has it on the Hub too."""

import numpy as np

from ..models.audio_files import AudioError
from ..models.audio_reader import MAX_CHANNELS, MAX_SAMPLING_RATE, MIN_SAMPLING_RATE, AudioReader
from .resampling import Resampler


__all__ = ["MAX_CHANNELS", "MAX_SAMPLING_RATE", "MIN_SAMPLING_RATE", "AudioError", "AudioReader", "read_audio"]


def read_audio(source, sampling_rate: int, max_seconds: float | None = None, mono: bool = False) -> np.ndarray:
    """Reads a whole file, or its first `max_seconds`, at another sampling rate in Hz.

    Returns (T, C) in float32, full scale ±1; with `mono`, the mean of the channels, (T, 1). Raises the errors of
    [`AudioReader`].
    """
    blocks, frames = [], 0
    with AudioReader(source) as reader:
        resampler = Resampler(reader.sampling_rate, sampling_rate, 1 if mono else reader.channels)
        for block in reader:
            blocks.append(resampler.push(block.mean(axis=1, keepdims=True) if mono else block))
            frames += len(block)
            if max_seconds is not None and frames > max_seconds * reader.sampling_rate:
                break
        blocks.append(resampler.flush())
    return np.concatenate(blocks)[: None if max_seconds is None else int(max_seconds * sampling_rate)]
