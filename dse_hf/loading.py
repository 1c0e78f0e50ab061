"""Finds and loads a model by its name: an embedded one, a folder, or one on the Hub."""

import contextlib
import difflib
import logging
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import one_line
from .model_files import INDEX, check_finite, check_weights, checked_config, read_weights
from .registry import MODEL_TYPES, load_object


if TYPE_CHECKING:
    import torch

    from .models.modeling_separation import SeparationMixin


DEFAULT_MODEL = "waveunet-speech-16khz"
# The models of the Space. The autoencoders serve for comparisons and make most recordings worse.
OFFERED_MODELS = (DEFAULT_MODEL, "waveunet-dialogue-16khz")
DTYPES = ("auto", "float32", "bfloat16", "float16")

_FOLDER = Path(__file__).with_name("pretrained")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_LOG = logging.getLogger(__name__)
_HUB_SECONDS = 10.0  # how long to wait for the first answer of the Hub


def embedded_models() -> list[str]:
    """Names of the models that are part of the package and need no network."""
    return sorted(config.parent.name for config in _FOLDER.glob("*/config.json"))


class UnknownModelError(ValueError):
    """Nothing has this name: no embedded model, no folder, and it cannot be one on the Hub."""


@dataclass(frozen=True)
class ModelSource:
    """The `name` that the user gave, the `kind` of place (a text for messages), and the `folder` with the files."""

    name: str
    kind: str
    folder: Path

    def __str__(self) -> str:
        return f"model {self.name}: {self.kind}"


def load_model(
    name: "str | os.PathLike | ModelSource" = DEFAULT_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
) -> "SeparationMixin":
    r"""
    Loads a model for separation, in evaluation mode. It reads weights only from safetensors files, and runs no code
    from the model's folder or repository.

    Args:
        name (`str` or `os.PathLike`, *optional*):
            One of [`embedded_models`], a folder, or a repository on the Hub (`owner/name`), looked up in this order.
            The log at level INFO says which one it was. A [`ModelSource`] from [`find_model`] also works.
        device (`str`, *optional*, defaults to `"auto"`):
            A device of PyTorch. `"auto"` is CUDA if it is available, otherwise the CPU.
        dtype (`str`, *optional*, defaults to `"auto"`):
            `"float32"`, `"bfloat16"` or `"float16"`. `"auto"` is the saved dtype on CUDA and float32 elsewhere.
        revision (`str`, *optional*, defaults to `"main"`):
            A branch, tag or commit of a repository on the Hub.

    Raises:
        ValueError: the model does not exist, is of another type, or its files are damaged or do not fit each other;
            or the device or dtype is not available. The message is one line that says what to do.
    """
    torch_device, dtype = _place(device, dtype)
    source = name if isinstance(name, ModelSource) else find_model(name, revision)
    model: Any = load_source(source, dtype)  # the type of `to` is hidden by the decorator of transformers
    return model.to(torch_device).eval()


def load_separator(
    name: "str | os.PathLike | ModelSource" = DEFAULT_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
) -> "SeparationMixin":
    """As [`load_model`], for programs that only separate: without transformers, if the type of the model allows it.

    Then the import of torch is most of what the program waits for. The model has `separate` and `separation_stream`,
    and is no `PreTrainedModel`.
    """
    source = name if isinstance(name, ModelSource) else find_model(name, revision)
    if needs_transformers(source):
        return load_model(source, device, dtype)
    torch_device, dtype = _place(device, dtype)
    with _explained(source):
        model = _load_separator(source.folder, dtype)
    model.name_or_path = source.name
    return model.to(torch_device).eval()


def find_model(name: str | os.PathLike = DEFAULT_MODEL, revision: str | None = None) -> ModelSource:
    """The first step of [`load_model`]: finds the files of the model, and downloads them if they are on the Hub."""
    name = str(name)
    source = _find_here(name)
    if source is None:
        source = _get_from_hub(name, revision)
    elif revision is not None:
        raise ValueError(f"model {name!r}: is {source.kind}, which has no revision {revision!r}; leave it out")
    _LOG.info("%s, %s", source, source.folder)
    return source


def load_source(source: ModelSource, dtype: str = "auto") -> "SeparationMixin":
    """The second step of [`load_model`]: checks the files, and loads them with `dtype` as in `from_pretrained`."""
    import torch
    import transformers

    import dse_hf  # noqa: F401 (registers our models with transformers)

    # If trust_remote_code were not set, transformers would ask whether to run code from the repository.
    options = {"local_files_only": True, "trust_remote_code": False}
    with _explained(source):
        checked_config(source.folder)
        config = transformers.AutoConfig.from_pretrained(source.folder, **options)
        with torch.device("meta"):
            check_weights(source.folder, transformers.AutoModel.from_config(config))
        model = transformers.AutoModel.from_pretrained(
            source.folder, config=config, dtype=dtype, use_safetensors=True, **options
        )
        check_finite(model.state_dict())
    model.name_or_path = model.config._name_or_path = source.name
    return model


def needs_transformers(source: ModelSource) -> bool:
    """Whether [`load_separator`] takes the way of [`load_model`] for this model."""
    with _explained(source):
        return MODEL_TYPES[checked_config(source.folder)["model_type"]].separator is None


def _load_separator(folder: Path, dtype: str):
    import torch

    fields = checked_config(folder)
    separator = load_object(str(MODEL_TYPES[fields["model_type"]].separator))
    config = separator.config_class(**fields)
    with torch.device("meta"):
        model = separator(config)
    check_weights(folder, model)
    tensors = read_weights(folder)
    saved = next(iter(tensors.values())).dtype
    wanted = saved if dtype == "auto" else getattr(torch, dtype)
    tensors = {name: tensor.to(wanted) for name, tensor in tensors.items()}
    check_finite(tensors)
    model.load_state_dict(tensors, assign=True)
    return model.requires_grad_(False)


@contextlib.contextmanager
def _explained(source: ModelSource) -> Generator[None]:
    """Makes every error a ValueError with the name of the model and the next step."""
    try:
        yield
    except Exception as error:  # any exception, because config.json may hold anything
        reason = _reason(error)
        advice = "" if "; " in reason else "; or give a model that dse-hf made"
        raise ValueError(f"model {source.name!r}: {reason}{advice}") from error


def _place(device: str, dtype: str) -> tuple["torch.device", str]:
    """The device and the dtype for these options of [`load_model`]. Raises a ValueError if one is not available."""
    from .processor import computes_bfloat16_quickly

    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}: give one of {', '.join(DTYPES)}")
    torch_device = _available_device(device)
    if dtype == "auto" and torch_device.type != "cuda":
        dtype = "float32"
    if dtype == "bfloat16" and torch_device.type == "cpu" and not computes_bfloat16_quickly():
        _LOG.warning("dtype bfloat16: this processor has no instructions for it; float32 is faster")
    return torch_device, dtype


def _available_device(device: str):
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:  # an AssertionError if PyTorch was built without CUDA
        raise ValueError(f"device {device!r}: not available ({_reason(error)}); give auto or cpu") from error


# ── Finding the files ──


def is_hub_id(name) -> bool:
    """Whether a name has the form `owner/name` of a repository on the Hub, and is not an existing path."""
    return _HUB_ID.fullmatch(str(name)) is not None and not Path(name).expanduser().exists()


def _find_here(name: str) -> ModelSource | None:
    """Finds an embedded model or a folder. Returns `None` if the name may be that of a repository on the Hub."""
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
    """Downloads the files that changed. If the Hub cannot be reached, uses those in the cache."""
    from huggingface_hub import errors, snapshot_download

    reachable = False
    try:
        reachable = _is_within_reach(hub_id, revision)
        folder = snapshot_download(
            hub_id,
            revision=revision,
            local_files_only=not reachable,
            # Only safetensors and JSON files: no code, and nothing that could be a pickle.
            allow_patterns=["config.json", "preprocessor_config.json", "model*.safetensors", INDEX],
            ignore_patterns=["*/*"],
        )
    except errors.GatedRepoError as error:
        raise ValueError(
            f"model {hub_id!r}: is gated; ask for access on its page, then run `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"model {hub_id!r}: has no revision {revision!r}; see the branches on its page") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ValueError(
            f"model {hub_id!r}: neither a folder here nor a model on the Hub; check the name "
            "(if it is private, run `hf auth login`)"
        ) from error
    except Exception as error:  # the types of network errors depend on the version of huggingface_hub
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            reason = "the Hub does not know your token; run `hf auth login`, or correct HF_TOKEN"
        elif reachable and not isinstance(error, errors.LocalEntryNotFoundError):
            reason = f"could not be downloaded ({_reason(error)}); try again"
        else:
            reason = "the Hub cannot be reached, and the cache does not have it; check the network"
        raise ValueError(f"model {hub_id!r}: {reason}") from error
    origin = "from the Hub" if reachable else "from the cache, as the Hub is out of reach"
    return ModelSource(hub_id, f"{origin}, commit {Path(folder).name[:7]}", Path(folder))


def _is_within_reach(hub_id: str, revision: str | None) -> bool:
    """Whether the Hub answers. Asks once, as a download would retry for half a minute. Raises its refusals."""
    from huggingface_hub import HfApi, errors

    try:
        HfApi().model_info(hub_id, revision=revision or "main", timeout=_HUB_SECONDS)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
        raise
    except Exception as error:  # no network, offline mode, or an error of the Hub
        if getattr(getattr(error, "response", None), "status_code", None) == 401:
            raise
        return False
    return True


def _reason(error: Exception) -> str:
    return one_line(error, most=400).rstrip(".")
