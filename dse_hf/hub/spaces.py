"""Builds Spaces, and puts the package into a Space, as long as no package index has it."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


PACKAGE = Path(__file__).parent.parent
DISTRIBUTION = "dse-hf"
NOT_PUBLISHED = shutil.ignore_patterns(".*", "__pycache__", "*.pyc")
BUILD = "build.py"


def stage_space(space: Path, staged: Path) -> None:
    """Writes the files of a Space that are published to a new folder: those that its `build.py` writes, or all."""
    if (space / BUILD).is_file():
        build_space(space, staged)
    else:
        shutil.copytree(space, staged, ignore=NOT_PUBLISHED)


def build_space(space: Path, out: Path) -> None:
    """Runs the `build.py` of a Space, which writes the files to publish to the folder `out`.

    Raises a ValueError with the last line of its error output if it fails.
    """
    done = subprocess.run(
        [sys.executable, str((space / BUILD).resolve()), str(out.resolve())], capture_output=True, text=True
    )
    if done.returncode != 0 or not (out / "README.md").is_file():
        reason = (done.stderr.strip().splitlines() or ["it wrote no README.md"])[-1]
        raise ValueError(f"{space / BUILD}: failed ({reason}); correct that, and run this again")


def bundle_package(space: Path) -> bool:
    """Copies the package into a Space whose `requirements.txt` names dse-hf, and names its dependencies there instead.

    Returns whether it copied. A line of `requirements.txt` that is not a requirement raises a ValueError.
    """
    path = space / "requirements.txt"
    if not path.is_file():
        return False
    lines, wanted = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith("-"):
            lines.append(line)
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise ValueError(f"{path}: {text!r} is no requirement; write it as in 'scipy>=1.13'") from error
        if canonicalize_name(requirement.name) == DISTRIBUTION:
            wanted = True
            lines += sorted(_needs(requirement.extras))
        else:
            lines.append(line)
    if wanted:
        shutil.copytree(PACKAGE, space / PACKAGE.name, ignore=NOT_PUBLISHED)
        path.write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    return wanted


def name_models(space: Path, owner: str) -> None:
    """Adds the offered models that the owner has published to a Space's metadata. Their pages then show the Space."""
    from huggingface_hub import HfApi, metadata_load, metadata_save

    from ..loading import OFFERED_MODELS

    api, readme = HfApi(), space / "README.md"
    published = [name for name in (f"{owner}/{model}" for model in OFFERED_MODELS) if api.repo_exists(name)]
    metadata = metadata_load(readme) or {}
    models = list(dict.fromkeys([*metadata.get("models", []), *published]))
    if models:
        metadata_save(readme, {**metadata, "models": models})


def _needs(extras: set[str]) -> set[str]:
    """Requirements of the installed dse-hf with these extras, which may name further extras of dse-hf."""
    found = set()
    for text in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker, requirement.marker = requirement.marker, None
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        if canonicalize_name(requirement.name) == DISTRIBUTION:
            found |= _needs(requirement.extras)
        else:
            found.add(str(requirement))
    return found
