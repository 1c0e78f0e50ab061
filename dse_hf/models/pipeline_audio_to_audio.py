"""The `audio-to-audio` pipeline: anything that holds audio → its sources, at its own rate and length."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from .audio_reader import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE, AudioReader
from .modeling_separation import background_gain, keep_background, looks_transposed, rest_of_mixture


# On the Hub this file runs without dse_hf: what resamples may be missing there.
try:
    import soxr
except ImportError:
    soxr = None


@dataclass
class Recording:
    """Samples (C, T) at `sampling_rate`, and in the end the sources of them.

    No tensors inside, so that a batch of recordings of any lengths goes through the pipeline unpadded.
    """

    samples: np.ndarray
    sampling_rate: int
    sources: dict[str, np.ndarray] | None = None


class AudioToAudioPipeline(Pipeline):
    r"""
    Separates audio into its sources.

        >>> separate = pipeline("audio-to-audio", model="org/waveunet", trust_remote_code=True)
        >>> separate("noisy.wav")
        [{"label": "foreground", "audio": array (C, T), "sampling_rate": 44100}, {"label": "background", …}]

    The input is one of these, or a list, generator, dataset or column of a dataset of them:

    - `str` or `pathlib.Path`: an audio file or a film, as the command line reads it (wav, flac, ogg and others by
      soundfile; mp3, m4a, mp4, webm and others by PyAV). Of several tracks it reads the one that players choose;
    - `bytes`, or a binary file such as `io.BytesIO`: such a file's content;
    - `dict` with `"raw"` or `"array"` (samples `(T,)` or `(C, T)`, full scale ±1) and `"sampling_rate"`, or with
      `"bytes"` or `"path"`: the audio items of `datasets`, decoded or not;
    - `dict` with one of these as `"audio"`: a row of `datasets`;
    - an `AudioDecoder` of torchcodec, or what else has `get_all_samples()`: the audio items of `datasets`;
    - `numpy.ndarray` or `torch.Tensor` of shape `(T,)` or `(C, T)`, at the model's rate.

    Args:
        sources (`list[str]`, *optional*): which sources to return; by default all of `model.config.sources`.
        tile_length (`int`, *optional*): see [`SeparationMixin.separate`].
        background_db (`float`, *optional*, defaults to `-inf`): how much of the background the first source keeps, in
            dB, at most 0. `-inf` leaves nothing in.

    Returns:
        One `dict` per source: `label`, `audio` as float32 `numpy.ndarray` (C, T), and `sampling_rate`. All sources
        sum to the input.

    Raises:
        ValueError: the input is none of these, or its audio cannot be read or separated.
        ImportError: a package that the input needs is missing; names it.
    """

    model: Any
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    def _sanitize_parameters(
        self,
        sources: list[str] | None = None,
        tile_length: int | None = None,
        background_db: float | None = None,
        **unknown,
    ):
        if unknown:
            raise ValueError(
                f"unknown arguments {', '.join(unknown)}: the pipeline takes sources, tile_length and background_db"
            )
        names = self.model.config.sources
        for name in sources or []:
            if name not in names:
                raise ValueError(f"source {name!r}: this model separates {', '.join(names)}")
        forward: dict[str, Any] = {} if tile_length is None else {"tile_length": tile_length}
        if background_db is not None:
            forward["background_gain"] = background_gain(background_db)
        return {}, forward, {} if sources is None else {"sources": sources}

    def __call__(self, inputs: Any, *args, **kwargs):
        if not _is_dataset_or_column(inputs):
            return super().__call__(inputs, *args, **kwargs)
        results = super().__call__((item for item in inputs), *args, **kwargs)
        return list(results) if hasattr(inputs, "__len__") else results

    # pyrefly: ignore[bad-override]  (recordings of any lengths have no tensors)
    def preprocess(self, input_: Any, **unused) -> dict[str, Recording]:
        samples, sampling_rate = self._read(input_)
        if samples.ndim == 1:
            samples = samples[None]
        if samples.ndim != 2 or samples.size == 0:
            raise ValueError(f"audio of shape {samples.shape}: give (samples,) or (channels, samples), not empty")
        if looks_transposed(samples.shape):
            raise ValueError(f"audio of shape {samples.shape}: transpose it; give (samples,) or (channels, samples)")
        if not np.issubdtype(samples.dtype, np.floating):
            raise ValueError(f"audio of dtype {samples.dtype}: give floats of full scale ±1 (int16: divide by 32768)")
        with np.errstate(over="ignore"):
            samples = samples.astype(np.float32)
        if not np.isfinite(samples).all():
            raise ValueError("audio that holds NaN or infinity: repair or drop these samples")
        rate = float(sampling_rate) if isinstance(sampling_rate, Real) else 0.0
        if not MIN_SAMPLING_RATE <= rate <= MAX_SAMPLING_RATE and rate != self.model.config.sampling_rate:
            raise ValueError(
                f"sampling_rate={sampling_rate!r}: give a number of Hz from {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE}"
            )
        return {"recording": Recording(samples, int(rate))}

    # pyrefly: ignore[bad-override]  (as above)
    def _forward(
        self, input_tensors: dict, tile_length: int | None = None, background_gain: float = 0.0, **unused
    ) -> dict:
        recordings = input_tensors["recording"]
        for recording in recordings if isinstance(recordings, list) else [recordings]:
            self._separate(recording, tile_length, background_gain)
        return input_tensors

    def postprocess(self, model_outputs: dict, sources: list[str] | None = None, **unused) -> list[dict]:
        recording = model_outputs["recording"]
        return [
            {"label": name, "audio": recording.sources[name], "sampling_rate": recording.sampling_rate}
            for name in sources or recording.sources
        ]

    def _separate(self, recording: Recording, tile_length: int | None, background_gain: float) -> None:
        rate, length = self.model.config.sampling_rate, recording.samples.shape[-1]
        waveform = _resample(recording.samples, recording.sampling_rate, rate)
        sources = self.model.separate(torch.from_numpy(waveform), rate, tile_length, last_source=False)
        *names, last = self.model.config.sources
        predicted = [
            _resample(sources[name].float().numpy(), rate, recording.sampling_rate)[:, :length] for name in names
        ]
        predicted = keep_background(recording.samples, predicted, background_gain)
        recording.sources = dict(zip(names, predicted))
        # At the input's own rate, so that frequencies above the model's band stay in the last source.
        with np.errstate(over="ignore", invalid="ignore"):
            recording.sources[last] = rest_of_mixture(recording.samples, recording.sources.values())
        if not np.isfinite(recording.sources[last]).all():
            peak = np.abs(recording.samples).max()
            raise ValueError(f"audio of peak {peak:.3g}: too loud for numbers of 32 bits; bring it to full scale ±1")

    def _read(self, inputs: Any) -> tuple[np.ndarray, int]:
        """Samples (T,) or (C, T) and their rate."""
        if isinstance(inputs, dict):
            audio = inputs.get("audio")
            is_array = isinstance(audio, (np.ndarray, torch.Tensor, list))
            array = inputs.get("raw", inputs.get("array", audio if is_array else None))
            keys = ", ".join(map(str, inputs))
            if array is not None:
                if "sampling_rate" not in inputs:
                    raise ValueError(f"dict with {keys}: the sampling_rate is missing")
                return _as_array(array), inputs["sampling_rate"]
            inputs = inputs.get("bytes") or inputs.get("path") if audio is None else audio
            if inputs is None or inputs == b"":
                raise ValueError(
                    f"dict with {keys}: holds no audio; give array and sampling_rate, bytes, path or audio, or the "
                    "item of the column that holds the audio"
                )
            if isinstance(inputs, dict):
                return self._read(inputs)
        if hasattr(inputs, "get_all_samples"):
            decoded = inputs.get_all_samples()
            return decoded.data.numpy(), decoded.sample_rate
        if isinstance(inputs, (np.ndarray, torch.Tensor)):
            return _as_array(inputs), self.model.config.sampling_rate
        if hasattr(inputs, "read"):
            inputs = _content_of(inputs)
        if isinstance(inputs, (str, bytes, bytearray, memoryview)) or hasattr(inputs, "__fspath__"):
            return _decode(inputs)
        raise ValueError(
            f"input of type {type(inputs).__name__}: give a path, bytes, a binary file, an array, or a dict "
            "with array and sampling_rate"
        )


def _is_dataset_or_column(inputs: Any) -> bool:
    """Whether this is a dataset of `datasets` or a column of one. transformers would take it for a single input."""
    if isinstance(inputs, (str, bytes, bytearray, memoryview, list, tuple)):
        return False
    return isinstance(inputs, Sequence) or (hasattr(inputs, "column_names") and hasattr(inputs, "__iter__"))


def _content_of(file: Any) -> bytes:
    """All bytes of an open file, from its start if it can go there."""
    kind = type(file).__name__
    try:
        if file.seekable():
            file.seek(0)
        content = file.read()
    except (AttributeError, OSError, ValueError) as error:
        raise ValueError(f"file of type {kind} cannot be read ({error}); give one that is open for reading") from error
    if not isinstance(content, bytes):
        raise ValueError(f"file of type {kind} gives {type(content).__name__}; open it in binary mode, with 'rb'")
    return content


def _as_array(samples: Any) -> np.ndarray:
    try:
        if isinstance(samples, torch.Tensor):
            samples = samples.detach().cpu()
            samples = samples.float() if samples.dtype == torch.bfloat16 else samples  # which numpy does not have
        return np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(samples).__name__
        raise ValueError(f"audio of type {kind}: give an array (samples,) or (channels, samples) of floats") from error


def _decode(source: Any) -> tuple[np.ndarray, int]:
    """A path or the content of a file → samples (C, T) and their rate."""
    with AudioReader(source) as reader:
        return np.concatenate(list(reader)).T, reader.sampling_rate


def _resample(samples: np.ndarray, sampling_rate: int, wanted: int) -> np.ndarray:
    """(C, T) at `sampling_rate` → (C, T·wanted/sampling_rate), rounded up, at `wanted`."""
    if sampling_rate == wanted:
        return samples
    if soxr is None:
        raise ImportError(
            f"audio at {sampling_rate} Hz for a model at {wanted} Hz: resampling needs soxr (`pip install soxr`)"
        )
    resampled = soxr.resample(samples.T, sampling_rate, wanted).T
    missing = -(-samples.shape[-1] * wanted // sampling_rate) - resampled.shape[-1]
    return np.pad(resampled, ((0, 0), (0, max(0, missing))))


__all__ = ["AudioToAudioPipeline"]
