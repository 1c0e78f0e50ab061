"""A Wave-U-Net as an ONNX file, for programs and browsers without PyTorch."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import AudioReader, Resampler
from ..errors import describe_os_error
from ..files import atomic_write
from ..registry import load_object, model_type_of


DTYPES = ["float32", "float16", "int8"]
TOLERANCE = 1e-4  # of the float32 file to PyTorch, in full scales
_EXAMPLE = Path(__file__).parents[1] / "app" / "examples" / "train.flac"
_CHECKED_SECONDS = 10


@dataclass
class ExportResult:
    """
    Args:
        path (`str`): of the ONNX file.
        size (`int`): of the file, in bytes.
        max_error (`float`): greatest difference to PyTorch's float32 in any sample of any source, full scale ±1.
        snr (`float`): of the predicted sources (all but the last) to PyTorch's float32, in dB; `inf` if equal.
    """

    path: str
    size: int
    max_error: float
    snr: float


def export_onnx(model, path, *, dtype: str = "float32", audio=None, overwrite: bool = False) -> ExportResult:
    r"""
    Writes a Wave-U-Net as an ONNX file, and compares what ONNX Runtime makes of it with PyTorch.

    The file's input is `mixture` (B, C, T), its output `sources` (B, K, C, T), both float32, for any B and T ≥ 1:
    what `model.separate` gives. For long signals in constant memory, its metadata tell how to tile: a window that
    starts on a multiple of `alignment`, with `context` samples on both sides that are dropped from the output.

        >>> export_onnx(load_model(), "speech.onnx", dtype="float16").snr  # dB to float32
        >>> onnxruntime.InferenceSession("speech.onnx").run(None, {"mixture": array})

    Args:
        model ([`WaveUNetModel`]): as [`load_model`] gives it.
        path (`str` or `os.PathLike`): of the file.
        dtype (`str`, *optional*, defaults to `"float32"`):
            `"float32"`; `"float16"`: weights and computation; `"int8"`: the weights of the blocks, with a scale for
            every output channel, while the computation is in float32.
        audio (*optional*): a recording to compare on, see [`AudioReader`]; by default one of speech beside a train.
            Its first ten seconds are taken.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Raises:
        ValueError: the model or the dtype cannot be exported, the path exists or cannot be written, or ONNX Runtime
            gives something else than PyTorch.
        AudioError: the recording cannot be read.
        ImportError: onnx or onnxruntime is not installed (extra `export`).
    """
    path = Path(path)
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}: give {', '.join(DTYPES)}")
    graph = model_type_of(model.config.model_type).onnx
    if graph is None:
        raise ValueError(f"model of type {model.config.model_type}: cannot be exported; give a Wave-U-Net")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; give the name of a file in it")
    if path.exists() and not overwrite:
        raise ValueError(f"{path}: exists; pass --overwrite (overwrite=True) to replace it")
    mixture = _read(_EXAMPLE if audio is None else audio, model.config)
    model = _in_float32(model)
    content = load_object(graph)(model, dtype).SerializeToString()
    max_error, snr = _compare(model, content, mixture)
    if not math.isfinite(max_error) or (dtype == "float32" and max_error > TOLERANCE):
        raise ValueError(
            f"dtype {dtype}: ONNX Runtime is off by {max_error:.1e} (SNR {snr:.1f} dB); "
            "give another dtype, or another version of onnxruntime"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise ValueError(f"{path}: {describe_os_error(error)}") from error
    return ExportResult(str(path), len(content), max_error, snr)


def _read(audio, config) -> np.ndarray:
    """The start of a recording as the model takes it, (1, C, T)."""
    blocks, seconds = [], 0.0
    with AudioReader(audio) as reader:
        resampler = Resampler(reader.sampling_rate, config.sampling_rate, reader.channels)
        for block in reader.blocks():
            blocks.append(resampler.push(block))
            seconds += len(block) / reader.sampling_rate
            if seconds >= _CHECKED_SECONDS:
                break
        blocks.append(resampler.flush())
    samples = np.concatenate(blocks)[: _CHECKED_SECONDS * config.sampling_rate]
    return np.ascontiguousarray(np.resize(samples.T, (config.channels, len(samples))))[None]


def _in_float32(model):
    """The model itself if it is on the processor in float32, else a copy that is."""
    import torch

    if model.dtype == torch.float32 and model.device.type == "cpu":
        return model
    return copy.deepcopy(model).to("cpu", torch.float32)


def _compare(model, content: bytes, mixture: np.ndarray) -> tuple[float, float]:
    """Greatest error and SNR in dB of what ONNX Runtime makes of a mixture (1, C, T), to what the model does."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"mixture": mixture})
    wanted = model.separate(torch.from_numpy(mixture), model.config.sampling_rate)
    wanted = torch.stack(list(wanted.values()), dim=1).numpy()
    difference = given - wanted
    noise = float(np.square(difference[:, :-1], dtype=np.float64).sum())
    signal = float(np.square(wanted[:, :-1], dtype=np.float64).sum())
    snr = 10 * math.log10(signal / noise) if signal and noise else math.inf if signal else -math.inf
    return float(np.abs(difference).max()), snr
