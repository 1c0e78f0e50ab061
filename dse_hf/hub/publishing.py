"""Publishes the folder of a model or of a Space on the Hub: checks it, reloads it elsewhere, pushes one commit."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import one_line
from .checks import check_reload, check_space
from .spaces import NOT_PUBLISHED, bundle_package, name_models, stage_space


# Files at the root that an earlier push made, and that are deleted if they are not among the new files.
_OURS = re.compile(r"[^/]+\.(py|safetensors|safetensors\.index\.json)")
_ADVICE = {
    401: "log in: `hf auth login`, or set HF_TOKEN",
    403: "your token may not write there: use a token that may, or give another owner",
    412: "someone else has pushed in the meantime: look at that commit, and run this again",
}


@dataclass(frozen=True)
class Publication:
    """A published repository, or one that would be published.

    Attributes:
        repo_id: name of the repository.
        files: path in the repository → size in bytes.
        card: content of its README.md.
        commit: id of its last commit; `None` if nothing was sent.
        url: address of that commit.
        changed: whether a new commit was made.
    """

    repo_id: str
    files: dict[str, int]
    card: str
    commit: str | None = None
    url: str | None = None
    changed: bool = False


def publish_model(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Publication:
    r"""
    Publishes a model so that it loads with transformers alone: weights, config, feature extractor, their code and the
    pipeline's, and a card.

    Before anything is sent, a fresh process that cannot import dse_hf must reload the model with equal output. All
    files go into one commit. No commit is made if the repository has the same files already.

    Args:
        folder (`str` or `os.PathLike`): folder of a model, or name of an embedded model.
        repo_id (`str`): `owner/name`; the repository is made if it does not exist.
        private (`bool`, *optional*, defaults to `False`): a new repository is private.
        revision (`str`, *optional*, defaults to `"main"`): branch; it is made if it does not exist.
        dry_run (`bool`, *optional*, defaults to `False`): does everything except talking to the Hub.
        progress (`Callable`, *optional*): called with the name of each step as it begins.

    Raises:
        ValueError: the folder cannot be published, or the push failed. The message is one line with the next step.
    """
    from ..loading import find_model, is_hub_id

    _check_repo_id(repo_id)
    if is_hub_id(folder):
        raise ValueError(f"{folder}: no such folder; give one with config.json and model.safetensors")
    source = find_model(folder)
    say = progress or (lambda doing: None)
    with tempfile.TemporaryDirectory(prefix="dse-hf-") as temporary:
        staged = Path(temporary, repo_id.rpartition("/")[2])
        say(f"checking {source}")
        model = stage_model(source, staged, repo_id)
        say("reloading it in a process without dse_hf")
        check_reload(model, staged)
        if dry_run:
            return _describe(staged, repo_id)
        say(f"pushing to {repo_id}")
        return _push(staged, repo_id, "model", private, revision)


def publish_space(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Publication:
    """Publishes the folder of a Space: `README.md` with its metadata, the app, `requirements.txt`.

    Arguments and errors are those of [`publish_model`]. The code is compiled, where a model would be reloaded. A Space
    with a `build.py` is built first, and what that writes is published, see [`build_space`]. If the requirements name
    dse-hf, the package is copied into the Space, see [`bundle_package`], and its metadata name the embedded models
    that the owner has published, see [`name_models`].
    """
    _check_repo_id(repo_id)
    say = progress or (lambda doing: None)
    with tempfile.TemporaryDirectory(prefix="dse-hf-") as temporary:
        staged = Path(temporary, repo_id.rpartition("/")[2])
        say(f"checking the Space {folder}")
        sdk = check_space(Path(folder))
        stage_space(Path(folder), staged)
        bundled = bundle_package(staged)
        if dry_run:
            return _describe(staged, repo_id)
        if bundled:
            with explaining(repo_id):
                name_models(staged, repo_id.partition("/")[0])
        say(f"pushing to {repo_id}")
        return _push(staged, repo_id, "space", private, revision, space_sdk=sdk)


def stage_model(source, staged: Path, repo_id: str):
    """Saves all files of a [`ModelSource`] that are published in the folder `staged`, and returns the model."""
    from transformers import AutoFeatureExtractor

    from ..loading import load_source
    from ..models.pipeline_audio_to_audio import AudioToAudioPipeline
    from ..registry import feature_extractor_for
    from .cards.card import CARD, EXAMPLE, RESULTS, TEXTS, find_text, render_card

    model = load_source(source).eval()  # in its saved dtype
    if (source.folder / "preprocessor_config.json").is_file():
        extractor = AutoFeatureExtractor.from_pretrained(source.folder, trust_remote_code=False)
    else:
        extractor = feature_extractor_for(model.config)
    if extractor.sampling_rate != model.config.sampling_rate:
        raise ValueError(
            f"{source.folder}: preprocessor_config.json is for {extractor.sampling_rate} Hz and config.json for "
            f"{model.config.sampling_rate} Hz; correct one of them"
        )
    # By default, a pipeline would move its model to a GPU.
    pipeline = AudioToAudioPipeline(
        model=model, feature_extractor=extractor, task="audio-to-audio", device=model.device
    )
    pipeline.save_pretrained(staged)
    for folder in (TEXTS / source.folder.resolve().name, source.folder):
        if (folder / RESULTS).is_file():
            shutil.copy(folder / RESULTS, staged / RESULTS)
        if (folder / EXAMPLE).is_dir():
            shutil.copytree(folder / EXAMPLE, staged / EXAMPLE, dirs_exist_ok=True, ignore=NOT_PUBLISHED)
    if (staged / EXAMPLE / "noisy.wav").is_file():
        separate_example(model, staged / EXAMPLE)
    card = render_card(staged, repo_id=repo_id, text=find_text(source.folder))
    (staged / CARD).write_text(card, encoding="utf-8")
    return model


def separate_example(model, folder: Path) -> None:
    """Separates the example's `noisy.wav` into the same folder, for the players on the card."""
    from ..separate import separate_file

    with tempfile.TemporaryDirectory() as temporary:
        result = separate_file(model, folder / "noisy.wav", temporary)
        for name, path in result.outputs.items():
            shutil.move(path, folder / f"{name}.wav")


# ── The Hub ──


def _push(
    staged: Path, repo_id: str, repo_type: str, private: bool, revision: str | None, space_sdk: str | None = None
) -> Publication:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, branch = HfApi(), revision or "main"
    where = {"repo_id": repo_id, "repo_type": repo_type}
    with explaining(repo_id):
        made = _make_repo(api, where, private, space_sdk)
        if revision is not None:
            api.create_branch(**where, branch=revision, exist_ok=True)
        parent = api.repo_info(**where, revision=branch).sha
    publication = _describe(staged, repo_id)
    with explaining(repo_id, parent):
        there = api.list_repo_files(**where, revision=parent)
        outdated = [path for path in there if _OURS.fullmatch(path) and path not in publication.files]
        operations = [CommitOperationAdd(path, staged / path) for path in publication.files]
        operations = [*operations, *map(CommitOperationDelete, outdated)]
        commit = api.create_commit(
            **where,
            operations=operations,
            commit_message=f"{'Publish' if made else 'Update'} with dse-hf",
            revision=branch,
            parent_commit=parent,
        )
    return replace(publication, commit=commit.oid, url=commit.commit_url, changed=commit.oid != parent)


def _make_repo(api, where: dict, private: bool, space_sdk: str | None) -> bool:
    """Makes the repository if it does not exist. Returns whether it was made."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.repo_info(**where)
    except RepositoryNotFoundError:
        api.create_repo(**where, private=private, space_sdk=space_sdk)
        return True
    if private and not info.private:
        raise ValueError(
            f"{where['repo_id']}: exists and is public; make it private on its settings page, or leave out --private"
        )
    return False


@contextmanager
def explaining(repo_id: str, parent: str | None = None) -> Generator[None]:
    """Turns errors of the client into one line: the reason, the state of the repository, and the next step."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise ValueError(f"{repo_id}: {_ADVICE[401]}") from error
    except OfflineModeIsEnabled as error:
        raise ValueError(f"{repo_id}: HF_HUB_OFFLINE is set; unset it to publish") from error
    except Exception as error:  # the Hub and the network raise many kinds
        if isinstance(error, ValueError) and str(error).startswith(repo_id):
            raise
        cause = _cause(error)
        status = getattr(getattr(cause, "response", None), "status_code", None)
        reason = one_line(cause, most=200)
        if isinstance(cause, HfHubHTTPError) and status is not None:
            reason = f"the Hub answered {status}"
        state = "nothing was sent" if parent is None else f"nothing changed there, its last commit is {parent[:7]}"
        if parent is not None and status is None:  # the commit may have arrived although its answer did not
            state = f"its last commit was {parent[:7]}"
        advice = _ADVICE.get(status or 0, "run this again: what was uploaded is not uploaded twice")
        if isinstance(error, ValueError) and status is None:  # such as metadata of the card that are not valid
            advice = "correct that, and run this again"
        raise ValueError(f"{repo_id}: the push failed ({reason}); {state}; {advice}") from error


def _cause(error: BaseException) -> BaseException:
    """The exception of the Hub or the network, which the client wraps during an upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


# ── Names and files ──


def _check_repo_id(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r}: is no name on the Hub; give owner/name") from error
    if "/" not in repo_id:
        raise ValueError(f"{repo_id!r}: has no owner; give owner/name")


def _describe(staged: Path, repo_id: str) -> Publication:
    paths = sorted(path for path in staged.rglob("*") if path.is_file())
    files = {path.relative_to(staged).as_posix(): path.stat().st_size for path in paths}
    return Publication(repo_id, files, (staged / "README.md").read_text(encoding="utf-8"))
