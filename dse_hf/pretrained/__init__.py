"""The models that come with the package, and the way from a name to a model."""

import difflib
import re
import textwrap
from pathlib import Path


DEFAULT_MODEL = "waveunet-speech-16khz"

_FOLDER = Path(__file__).parent
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def embedded_models() -> list[str]:
    """Names of the models that come with the package: they need no network."""
    return sorted(config.parent.name for config in _FOLDER.glob("*/config.json"))


def load_model(name=DEFAULT_MODEL, device: str = "auto", dtype: str = "auto"):
    r"""
    Loads a model for separation, in evaluation mode.

    Args:
        name (`str` or `os.PathLike`, *optional*):
            One of [`embedded_models`], a folder, or an id on the Hub (`owner/name`): the first that it is.
        device (`str`, *optional*, defaults to `"auto"`):
            As in PyTorch; `"auto"` is CUDA where there is any, else the CPU.
        dtype (`str`, *optional*, defaults to `"auto"`):
            `"float32"`, `"bfloat16"` or `"float16"`; `"auto"` is the saved one on CUDA, float32 elsewhere.

    Raises:
        ValueError: there is no such model, it is none of ours, its files are damaged, or there is no such
            device or dtype. One line that says what to do.
    """
    from transformers.utils import logging

    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"dtype {dtype!r}: give auto, float32, bfloat16 or float16")
    device = _available_device(device)
    if dtype == "auto" and device.type != "cuda":
        dtype = "float32"
    name = str(name)
    location, kind = _locate(name)
    logging.get_logger(__name__).info(f"model {name}: {kind}, {location}")
    return _from_pretrained(name, location, dtype, local=kind != "on the Hub").to(device).eval()


def _available_device(device: str):
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:  # asserted: built with CUDA
        reason = _one_line(error)
        raise ValueError(f"device {device!r}: not available ({reason}); give auto or cpu") from error


def _locate(name: str) -> tuple[str, str]:
    """Folder or Hub id of the model, and which of the three kinds it is."""
    embedded = embedded_models()
    if name in embedded:
        return str(_FOLDER / name), "embedded"
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder), "a folder"
    if folder.exists():
        raise ValueError(f"model {name!r}: is a file; give the folder with config.json and model.safetensors")
    if _HUB_ID.fullmatch(name):
        return name, "cached from the Hub" if _is_out_of_reach(name) else "on the Hub"
    similar = difflib.get_close_matches(name, embedded, n=1)
    hint = f" (did you mean {similar[0]}?)" if similar else ""
    raise ValueError(
        f"model {name!r}: no such model{hint}; give an embedded one ({', '.join(embedded)}), "
        "a folder (./my-model) or an id on the Hub (owner/name)"
    )


def _is_out_of_reach(hub_id: str) -> bool:
    """Asks the Hub once, where transformers would try for half a minute.

    Raises:
        ValueError: the Hub says that it has no such model, or not for everyone.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(hub_id, revision="main", timeout=10)
    except GatedRepoError as error:
        raise ValueError(f"model {hub_id!r}: ask for access on its page, then run `hf auth login`") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"model {hub_id!r}: neither a folder here nor a model on the Hub; check the name "
            "(if it is private, run `hf auth login`)"
        ) from error
    except Exception:  # no network, in many guises: the Hub's HTTP client is another one in each version
        return True
    return False


def _from_pretrained(name: str, location: str, dtype: str, local: bool):
    import transformers

    import dse_hf  # registers our models with transformers

    # False, not unset: else transformers would ask whether to run code from the repository.
    options = {"local_files_only": local, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(location, **options)
        if not type(config).__module__.startswith(f"{dse_hf.__name__}."):
            raise ValueError(f"is a {config.model_type} model, which does not separate")
        # Weights that are missing or do not fit would be replaced by random ones: they are refused below.
        model, report = transformers.AutoModel.from_pretrained(
            location,
            config=config,
            dtype=dtype,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except Exception as error:  # of any kind: config.json may hold anything
        reason = _one_line(error)
        if local and _HUB_ID.fullmatch(location) and isinstance(error, OSError):
            reason = "the Hub cannot be reached, and the cache does not have it; check the network"
        elif "trust_remote_code" in str(error):
            reason = "needs code of its own, which is not run"
        raise ValueError(f"model {name!r}: {reason}; or give a model that dse-hf made") from error
    unfit = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    if unfit:
        reason = f"its weights do not fit its config.json: {min(unfit)} and {len(unfit) - 1} more"
        raise ValueError(f"model {name!r}: {reason}; get both files again")
    return model


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), width=200, placeholder=" …").rstrip(".")
