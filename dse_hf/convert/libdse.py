"""Converts checkpoints of libdse to model folders that `from_pretrained` loads.

The config follows from the names and shapes of the tensors, so that nothing but tensors is ever unpickled.
"""

import tempfile
import warnings
from itertools import count, takewhile
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, SequenceFeatureExtractor

from ..model_files import differing_tensors
from ..models.configuration_dae import DAEConfig
from ..models.configuration_waveunet import WaveUNetConfig
from ..registry import feature_extractor_for, model_type_of


def convert_checkpoint(
    path: str | Path, output_dir: str | Path, *, sampling_rate: int | None = None, overwrite: bool = False
) -> Path:
    r"""
    Converts a libdse checkpoint to a model folder (weights, config, feature extractor).

    Args:
        path: a `.pth` file with the state dict of a `VanillaAutoEncoder` or a `WaveUNet`, bare or under
            `"state_dict"`, `"model"` or `"model_state_dict"`, with or without `module.` before every name.
        output_dir: the folder to create. It appears when it is complete, or not at all.
        sampling_rate (`int`, *optional*): the sampling rate in Hz of the audio that the model was trained on. The file
            does not tell it. The default is that of libdse: 16000 for a Wave-U-Net, 8000 for an autoencoder.
        overwrite (`bool`): replace the whole `output_dir` if it is a model folder.

    Returns:
        `Path`: `output_dir`.

    Raises:
        ValueError: the file is not such a checkpoint, or the folder cannot be written. The message is one line with
            the file, what is wrong, and what to do.
    """
    path, output_dir = Path(path), Path(output_dir)
    _check_output(path, output_dir, overwrite)
    state_dict = _read_state_dict(path)
    try:
        config = _read_config(state_dict, sampling_rate)
        model = _load_model(config, state_dict)
    except StrictDataclassError as error:  # its own text has several lines
        raise ValueError(f"{path}: {error.__cause__}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; give libdse's VanillaAutoEncoder or WaveUNet") from error
    try:
        _save(model, feature_extractor_for(config), output_dir)
    except OSError as error:
        raise ValueError(f"{output_dir}: cannot be written ({error.strerror or error}); choose another") from error
    return output_dir


def _check_output(path: Path, output_dir: Path, overwrite: bool) -> None:
    if not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{output_dir}: exists already; choose another folder, or ask to overwrite it")
    if not (output_dir / "config.json").is_file():
        raise ValueError(f"{output_dir}: is not a model folder and is not overwritten; choose another folder")
    if path.resolve().is_relative_to(output_dir.resolve()):
        raise ValueError(f"{output_dir}: holds the checkpoint, which overwriting would delete; move it first")


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: {'is not a file' if path.exists() else 'does not exist'}; give libdse's .pth file")
    content = _load_tensors(path)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"{path}: holds a {type(content).__name__}, not a state dict; "
            "save one: torch.save(model.state_dict(), path)"
        )
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{path}: {name!r} is a {type(tensor).__name__}; save a state dict, of tensors only")
        _check_tensor(f"{path}: {name}", tensor)
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return content


def _load_tensors(path: Path):
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give libdse's .pth file") from error
    with file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch's unpickler may raise anything
            raise ValueError(
                f"{path}: is not a PyTorch checkpoint, or holds more than tensors and is not opened for safety; "
                "save the tensors alone: torch.save(model.state_dict(), path)"
            ) from error


def _check_tensor(name: str, tensor: Tensor) -> None:
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.is_floating_point()
    # An expanded tensor claims more than the file holds.
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is not a plain floating-point tensor ({tensor.dtype}); save the weights as float32")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds NaN or infinity; use a checkpoint from before training broke down")


def _read_dae_config(state_dict: dict[str, Tensor], sampling_rate: int) -> DAEConfig:
    input_dim = _size(state_dict, "encoder.0.weight", 0)
    if input_dim < 2:
        raise ValueError(f"takes {input_dim} values, but frames of n_fft samples have n_fft // 2 + 1 ≥ 2 bins")
    stages = takewhile(lambda name: name in state_dict, (f"encoder.{k}.0.weight" for k in count(2)))
    *hidden_sizes, latent_dim = [_size(state_dict, name, 0) for name in ("encoder.1.0.weight", *stages)]
    n_fft = 2 * (input_dim - 1)
    return DAEConfig(
        hidden_sizes=hidden_sizes,
        latent_dim=latent_dim,
        n_fft=n_fft,
        hop_length=n_fft // 2,
        sampling_rate=sampling_rate,
    )


def _read_waveunet_config(state_dict: dict[str, Tensor], sampling_rate: int) -> WaveUNetConfig:
    layers = takewhile(lambda name: name in state_dict, (f"encoder.{k}.weight" for k in count()))
    channel_growth, channels, downsampling_kernel_size = state_dict["encoder.0.weight"].shape
    return WaveUNetConfig(
        num_layers=len(list(layers)),
        downsampling_kernel_size=downsampling_kernel_size,
        upsampling_kernel_size=_size(state_dict, "decoder.0.weight", 2),
        channel_growth=channel_growth,
        channels=channels,
        padding="same",
        sampling_rate=sampling_rate,
    )


# Dimensions of the tensor `encoder.0.weight` → the function that reads the config, and libdse's sampling rate in Hz.
_RECOGNISED = {1: (_read_dae_config, 8000), 3: (_read_waveunet_config, 16000)}


def _read_config(state_dict: dict[str, Tensor], sampling_rate: int | None) -> PreTrainedConfig:
    first = state_dict.get("encoder.0.weight")
    if first is None or first.dim() not in _RECOGNISED:
        raise ValueError(f"is not a known network (its first tensor is {next(iter(state_dict))})")
    read, default_rate = _RECOGNISED[first.dim()]
    return read(state_dict, default_rate if sampling_rate is None else sampling_rate)


def _size(state_dict: dict[str, Tensor], name: str, axis: int) -> int:
    if name not in state_dict:
        raise ValueError(f"{name} is missing")
    shape = tuple(state_dict[name].shape)
    if axis >= len(shape):
        raise ValueError(f"{name} has shape {shape}")
    return shape[axis]


def _load_model(config: PreTrainedConfig, state_dict: dict[str, Tensor]) -> PreTrainedModel:
    with torch.device("meta"):  # shapes only: nothing is allocated for a checkpoint that does not fit
        model = model_type_of(config.model_type).model_class(config)
    differences = differing_tensors({name: tuple(tensor.shape) for name, tensor in state_dict.items()}, model.network)
    if differences:
        raise ValueError(f"its tensors do not fit each other: {differences[0]}")
    # Tensors that share memory cannot be saved, so each is copied.
    weights = {name: tensor.to(torch.float32, copy=True).contiguous() for name, tensor in state_dict.items()}
    model.network.load_state_dict(weights, assign=True)
    return model


def _save(model: PreTrainedModel, feature_extractor: SequenceFeatureExtractor, output_dir: Path) -> None:
    """Writes the folder under a temporary name in the same place and renames it, so that it appears complete."""
    output_dir = output_dir.resolve()
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}.") as temporary:
        folder, replaced = Path(temporary, "new"), Path(temporary, "replaced")
        model.save_pretrained(folder)
        feature_extractor.save_pretrained(folder)
        if output_dir.exists():
            output_dir.rename(replaced)
        try:
            folder.rename(output_dir)
        except OSError:
            if replaced.exists():
                replaced.rename(output_dir)
            raise
