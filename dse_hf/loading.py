"""The models that come with the package, and the way from a name to a model."""

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import one_line
from .registry import MODEL_TYPES


DEFAULT_MODEL = "waveunet-speech-16khz"
# By the Space: the autoencoders are there to compare with, and make most recordings worse.
OFFERED_MODELS = (DEFAULT_MODEL, "waveunet-dialogue-16khz")

_FOLDER = Path(__file__).with_name("pretrained")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_INDEX = "model.safetensors.index.json"
_MAX_CONFIG_BYTES = 1_000_000
_HUB_SECONDS = 10.0  # to wait for the Hub's first answer; without network there is none


def embedded_models() -> list[str]:
    """Names of the models that come with the package: they need no network."""
    return sorted(config.parent.name for config in _FOLDER.glob("*/config.json"))


class UnknownModelError(ValueError):
    """Nothing has this name: no embedded model, no folder, and it cannot be one on the Hub."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model is: its `name` as it was given, of which `kind` that is, and the `folder` with its files."""

    name: str
    kind: str
    folder: Path

    def __str__(self) -> str:
        return f"model {self.name}: {self.kind}"


def load_model(name=DEFAULT_MODEL, device: str = "auto", dtype: str = "auto", revision: str | None = None):
    r"""
    Loads a model for separation, in evaluation mode. Only safetensors are read, and no code but dse-hf's own is run.

    Args:
        name (`str` or `os.PathLike`, *optional*):
            One of [`embedded_models`], a folder, or an id on the Hub (`owner/name`): the first that it is. The log
            says which one it was, at level INFO. Or what [`find_model`] gives.
        device (`str`, *optional*, defaults to `"auto"`):
            As in PyTorch; `"auto"` is CUDA where there is any, else the CPU.
        dtype (`str`, *optional*, defaults to `"auto"`):
            `"float32"`, `"bfloat16"` or `"float16"`; `"auto"` is the saved one on CUDA, float32 elsewhere.
        revision (`str`, *optional*, defaults to `"main"`):
            Branch, tag or commit on the Hub.

    Raises:
        ValueError: there is no such model, it is none of ours, its files are damaged or do not fit each other, or
            there is no such device or dtype. One line that says what to do.
    """
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"dtype {dtype!r}: give auto, float32, bfloat16 or float16")
    device = _available_device(device)
    if dtype == "auto" and device.type != "cuda":
        dtype = "float32"
    source = name if isinstance(name, ModelSource) else find_model(name, revision)
    return load_source(source, dtype).to(device).eval()


def find_model(name=DEFAULT_MODEL, revision: str | None = None) -> ModelSource:
    """The first step of [`load_model`]: finds the model's files, and gets them if they are on the Hub."""
    from transformers.utils import logging

    name = str(name)
    source = _find_here(name)
    if source is None:
        source = _get_from_hub(name, revision)
    elif revision is not None:
        raise ValueError(f"model {name!r}: is {source.kind}, which has no revision {revision!r}; leave that out")
    logging.get_logger(__name__).info(f"{source}, {source.folder}")
    return source


def load_source(source: ModelSource, dtype: str = "auto"):
    """The second step: loads the files, if they are a model of ours and fit each other; `dtype` as in transformers."""
    import transformers

    import dse_hf  # noqa: F401 (registers our models with transformers)

    # False, not unset: else transformers would ask whether to run code from the repository.
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        _check_model_type(source.folder / "config.json")
        config = transformers.AutoConfig.from_pretrained(source.folder, **options)
        _check_weights(source.folder, config)
        model = transformers.AutoModel.from_pretrained(
            source.folder, config=config, dtype=dtype, use_safetensors=True, **options
        )
        for weight, tensor in model.state_dict().items():
            if not tensor.isfinite().all():
                raise ValueError(f"its weight {weight} holds NaN or infinity; use a checkpoint from before it broke")
    except Exception as error:  # of any kind: config.json may hold anything
        reason = _reason(error)
        advice = "" if "; " in reason else "; or give a model that dse-hf made"
        raise ValueError(f"model {source.name!r}: {reason}{advice}") from error
    model.name_or_path = model.config._name_or_path = source.name
    return model


def _available_device(device: str):
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:  # asserted: built with CUDA
        reason = _reason(error)
        raise ValueError(f"device {device!r}: not available ({reason}); give auto or cpu") from error


# ── Where a model is ──


def is_hub_id(name) -> bool:
    """Whether a name can only be that of a repository on the Hub: `owner/name`, and nothing of that name is here."""
    return _HUB_ID.fullmatch(str(name)) is not None and not Path(name).expanduser().exists()


def _find_here(name: str) -> ModelSource | None:
    """None if the name may be one on the Hub."""
    embedded = embedded_models()
    if name in embedded:
        return ModelSource(name, "embedded", _FOLDER / name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelSource(name, "a folder", folder)
    if folder.exists():
        raise ValueError(f"model {name!r}: is a file; give the folder with config.json and model.safetensors")
    if is_hub_id(name):
        return None
    similar = difflib.get_close_matches(name, embedded, n=1)
    hint = f" (did you mean {similar[0]}?)" if similar else ""
    raise UnknownModelError(
        f"model {name!r}: no such model{hint}; give an embedded one ({', '.join(embedded)}), "
        "a folder (./my-model) or an id on the Hub (owner/name)"
    )


def _get_from_hub(hub_id: str, revision: str | None) -> ModelSource:
    """Downloads what is new of a model, or finds it in the cache where the Hub is out of reach."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    reachable = False
    try:
        reachable = _is_within_reach(hub_id, revision)
        folder = snapshot_download(
            hub_id,
            revision=revision,
            local_files_only=not reachable,
            # Safetensors and what describes them: no code, and nothing that could be a pickle.
            allow_patterns=["config.json", "preprocessor_config.json", "model*.safetensors", _INDEX],
            ignore_patterns=["*/*"],
        )
    except GatedRepoError as error:
        raise ValueError(
            f"model {hub_id!r}: is gated; ask for access on its page, then run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ValueError(f"model {hub_id!r}: has no revision {revision!r}; see the branches on its page") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"model {hub_id!r}: neither a folder here nor a model on the Hub; check the name "
            "(if it is private, run `hf auth login`)"
        ) from error
    except Exception as error:  # of the network, in many guises: the Hub's HTTP client is another in each version
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            reason = "the Hub does not know your token; run `hf auth login`, or correct HF_TOKEN"
        elif reachable and not isinstance(error, LocalEntryNotFoundError):
            reason = f"could not be downloaded ({_reason(error)}); try again"
        else:
            reason = "the Hub cannot be reached, and the cache does not have it; check the network"
        raise ValueError(f"model {hub_id!r}: {reason}") from error
    origin = "from the Hub" if reachable else "from the cache, as the Hub is out of reach"
    return ModelSource(hub_id, f"{origin}, commit {Path(folder).name[:7]}", Path(folder))


def _is_within_reach(hub_id: str, revision: str | None) -> bool:
    """Asks the Hub once, where the download would try for half a minute; its refusals are raised."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().model_info(hub_id, revision=revision or "main", timeout=_HUB_SECONDS)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise
    except Exception as error:  # no network, told not to use it, or a Hub out of order
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            raise
        return False
    return True


# ── What is in its files ──


def _check_model_type(path: Path) -> None:
    """Looks at config.json before transformers does: of other models it could ask for any amount of memory."""
    from transformers import CONFIG_MAPPING

    if not path.is_file():
        raise ValueError("has no config.json, so that it is no model of transformers")
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise ValueError(f"its config.json has {path.stat().st_size:,} bytes, more than any model's")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("its config.json is not a valid JSON file; get it again") from error
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type not in MODEL_TYPES:
        if isinstance(config, dict) and config.get("auto_map") and str(model_type) not in CONFIG_MAPPING:
            raise ValueError("needs code of its own, which is not run")
        raise ValueError(f"is a {model_type} model, which does not separate")


def _check_weights(folder: Path, config) -> None:
    """Compares names and shapes of the tensors in the files with those of the model, before any of them is loaded.

    transformers would fill what is missing with random values, and take the memory that a config asks for.
    """
    import torch
    import transformers

    found = tensor_shapes(folder)
    with torch.device("meta"):  # shapes only: nothing is allocated
        model = transformers.AutoModel.from_config(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    differences = [
        *(f"{name} is missing" for name in expected if name not in found),
        *(f"{name} belongs to another network" for name in found if name not in expected),
        *(
            f"{name} has shape {found[name]} and not {shape}"
            for name, shape in expected.items()
            if found.get(name, shape) != shape
        ),
    ]
    if differences:
        shown = ", ".join(differences[:3]) + (f", and {len(differences) - 3} more" if len(differences) > 3 else "")
        raise ValueError(f"its weights do not fit its config.json: {shown}; get both files again")


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a folder's safetensors.

    Raises:
        ValueError: there are none; pickles are not opened.
        safetensors.SafetensorError: a file is damaged.
    """
    from safetensors import safe_open

    files = _weight_files(folder)
    shapes = {}
    for file in files:
        with safe_open(file, "pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return shapes


def _weight_files(folder: Path) -> list[Path]:
    """Those that transformers would load: one, or the shards in an index."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (folder / _INDEX).is_file():
        names = sorted(set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{_INDEX} names {missing[0]}, which is not there; get all files again")
        return [folder / name for name in names]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    found = f", only {pickles[0]}" if pickles else ""
    raise ValueError(
        f"has no model.safetensors{found}; other files with weights are not opened, since a pickle can run code: ask "
        "for safetensors"
    )


def _reason(error: Exception) -> str:
    return one_line(error, most=400).rstrip(".")
