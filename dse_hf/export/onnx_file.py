"""Writes a Wave-U-Net as an ONNX file, for programs and browsers without PyTorch."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import read_audio
from ..errors import describe_os_error
from ..files import atomic_write
from ..registry import load_object, model_type_of
from . import DTYPES


TOLERANCE = 1e-4  # largest difference of a float32 file from PyTorch, full scale ±1
_EXAMPLE = Path(__file__).parents[1] / "app" / "examples" / "train.flac"
_CHECKED_SECONDS = 10


@dataclass
class ExportResult:
    """
    Args:
        path (`str`): the path of the ONNX file.
        size (`int`): the size of the file in bytes.
        max_error (`float`): the largest difference from PyTorch in float32, over all samples of all sources, full
            scale ±1.
        snr (`float`): the ratio in dB of the predicted sources (all but the last) in PyTorch to their differences;
            `inf` if they are equal.
    """

    path: str
    size: int
    max_error: float
    snr: float


def export_onnx(model, path, *, dtype: str = "float32", audio=None, overwrite: bool = False) -> ExportResult:
    r"""
    Writes a Wave-U-Net as an ONNX file, and compares the output of ONNX Runtime with that of PyTorch.

    The file has the input `mixture` (B, C, T) and the output `sources` (B, K, C, T), both float32, for any B ≥ 1 and
    T ≥ 1. The output equals that of `model.separate`. Long signals can be separated in constant memory, window by
    window. The metadata tell how: a window starts at a multiple of `alignment`, and has `context` more samples on both
    sides, whose output is dropped.

        >>> export_onnx(load_model(), "speech.onnx", dtype="float16").snr  # in dB
        >>> onnxruntime.InferenceSession("speech.onnx").run(None, {"mixture": array})

    Args:
        model ([`WaveUNetModel`]): the model, see [`load_model`].
        path (`str` or `os.PathLike`): the file to write.
        dtype (`str`, *optional*, defaults to `"float32"`):
            `"float32"`; `"float16"` for weights and computation; `"int8"` for the weights of the blocks, with one
            scale per output channel and computation in float32.
        audio (*optional*):
            A recording for the comparison, see [`AudioReader`]; by default speech beside a train. Its first ten
            seconds are used.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Raises:
        ValueError: the model or the dtype cannot be exported, the path exists or cannot be written, or the output of
            ONNX Runtime differs from that of PyTorch.
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
    config = model.config
    samples = read_audio(_EXAMPLE if audio is None else audio, config.sampling_rate, _CHECKED_SECONDS)
    mixture = np.ascontiguousarray(np.resize(samples.T, (config.channels, len(samples))))[None]
    model = copy.deepcopy(model).to("cpu").float()  # it may be on a GPU, or have another dtype
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


def _compare(model, content: bytes, mixture: np.ndarray) -> tuple[float, float]:
    """Largest difference, and SNR in dB, between ONNX Runtime and the model for a mixture (1, C, T)."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"mixture": mixture})
    wanted = model.separate(torch.from_numpy(mixture), model.config.sampling_rate)
    wanted = torch.stack(list(wanted.values()), dim=1).numpy()
    difference = found - wanted
    noise = float(np.square(difference[:, :-1], dtype=np.float64).sum())
    signal = float(np.square(wanted[:, :-1], dtype=np.float64).sum())
    snr = 10 * math.log10(signal / noise) if signal and noise else math.inf if signal else -math.inf
    return float(np.abs(difference).max()), snr
