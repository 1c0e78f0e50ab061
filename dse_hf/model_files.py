"""Checks the files of a model before they are loaded: its config, and its weights in safetensors files."""

import json
from pathlib import Path

from .registry import MODEL_TYPES


INDEX = "model.safetensors.index.json"
_MAX_CONFIG_BYTES = 1_000_000


def checked_config(folder: Path) -> dict:
    """Reads the config.json of a model of ours.

    Raises a ValueError for other models. transformers must not read them, as they could ask for any amount of memory.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError("has no config.json, so it is not a model of transformers")
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"its config.json has {path.stat().st_size:,} bytes, more than that of any model")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("its config.json is not a valid JSON file; get it again") from error
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in MODEL_TYPES:
        if isinstance(config, dict) and config.get("auto_map") and not _is_known_to_transformers(model_type):
            raise ValueError("needs code of its own, which is not run")
        raise ValueError(f"is a {model_type} model, which does not separate")
    return config


def _is_known_to_transformers(model_type) -> bool:
    from transformers import CONFIG_MAPPING

    return str(model_type) in CONFIG_MAPPING


def check_weights(folder: Path, model) -> None:
    """Compares the names and shapes of the tensors in the files with those of a model, before any is loaded.

    The model may be on the device `meta`, where nothing is allocated. transformers would fill missing tensors with
    random values, and allocate all the memory that a config asks for.
    """
    differences = differing_tensors(tensor_shapes(folder), model)
    if differences:
        shown = ", ".join(differences[:3]) + (f", and {len(differences) - 3} more" if len(differences) > 3 else "")
        raise ValueError(f"its weights do not fit its config.json: {shown}; get both files again")


def check_finite(tensors: dict) -> None:
    """Raises a ValueError if a tensor holds NaN or infinity."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"its weight {name} holds NaN or infinity; use a checkpoint from before it broke")


def read_weights(folder: Path) -> dict:
    """The tensors in the safetensors files of a folder, by name. Raises a ValueError if one is not of floats."""
    from safetensors.torch import load_file

    tensors = {name: tensor for file in _weight_files(folder) for name, tensor in load_file(file).items()}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise ValueError(f"its weight {name} is of {tensor.dtype}; give a model whose weights are floats")
    return tensors


def differing_tensors(found: dict[str, tuple[int, ...]], model) -> list[str]:
    """Says in which tensors a file with these names and shapes differs from the state dict of a model or network."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return [
        *(f"{name} is missing" for name in expected if name not in found),
        *(f"{name} belongs to another network" for name in found if name not in expected),
        *(
            f"{name} has shape {found[name]} and not {shape}"
            for name, shape in expected.items()
            if found.get(name, shape) != shape
        ),
    ]


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in the safetensors files of a folder. Pickles are not opened.

    Raises a ValueError if there are no such files, and a SafetensorError if one is damaged.
    """
    from safetensors import safe_open

    shapes = {}
    for file in _weight_files(folder):
        with safe_open(file, "pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return shapes


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load: a single one, or the shards that an index lists."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (folder / INDEX).is_file():
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{INDEX} names {missing[0]}, which does not exist; get all files again")
        return [folder / name for name in names]
    variants = sorted(path.name for path in folder.glob("model.*.safetensors"))
    if variants:  # saved with variant="fp16", or its shards
        raise ValueError(
            f"has no model.safetensors, only {variants[0]}; variants are not loaded: save the model without "
            "`variant`, and choose the precision with dtype"
        )
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    found = f", only {pickles[0]}" if pickles else ""
    raise ValueError(
        f"has no model.safetensors{found}; other files with weights are not opened, because a pickle can run code: "
        "ask for safetensors"
    )
