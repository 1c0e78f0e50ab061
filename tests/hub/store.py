"""The local Hub's repositories: what git and the Hub's rights of access make of files."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import yaml
from fastapi import Request


LFS_ENDINGS = "safetensors bin pt pth ckpt parquet arrow zip gz onnx wav flac mp3".split()  # noqa: SIM905
REGULAR_LIMIT = 10 * 2**20  # bytes; larger files must go the LFS way
GITATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS)


@dataclass(frozen=True)
class File:
    """What a commit knows of a file; its content lies under `key` (sha256) among the blobs."""

    key: str
    size: int
    oid: str  # as git names it
    is_lfs: bool

    @property
    def etag(self) -> str:
        return self.key if self.is_lfs else self.oid


@dataclass
class Commit:
    id: str
    title: str
    parent: str | None
    files: dict[str, File]
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z"))


@dataclass
class Repo:
    id: str
    type: str
    private: bool = False
    gated: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)  # users who may read it although it is gated

    def at(self, revision: str) -> Commit:
        commit_id = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit_id not in self.commits:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[commit_id]


class HubError(Exception):
    """An answer of the Hub that is no success, as its clients know it: status, `X-Error-Code`, message."""

    def __init__(self, status: int, code: str | None, message: str, **headers: str):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message, **headers}
        if code is not None:
            self.headers["X-Error-Code"] = code


class Store:
    """All repositories; their files' contents lie in a folder."""

    def __init__(self, folder: Path, tokens: dict[str, dict]):
        self.blobs = folder / "blobs"
        self.blobs.mkdir(parents=True)
        self.tokens = tokens  # token → {"name", "orgs", "role"}
        self.repos: dict[tuple[str, str], Repo] = {}

    def create(self, repo_id: str, repo_type: str, **fields) -> Repo:
        repo = self.repos[repo_type, repo_id] = Repo(repo_id, repo_type, **fields)
        attributes = self.add_blob(".gitattributes", GITATTRIBUTES.encode())
        self.commit(repo, "main", "initial commit", {".gitattributes": attributes})
        return repo

    def commit(self, repo: Repo, branch: str, title: str, files: dict[str, File]) -> Commit:
        """`files` is all that the new commit holds."""
        parent = repo.branches.get(branch)
        content = json.dumps([repo.id, repo.type, parent, title, len(repo.commits), sorted(map(str, files.items()))])
        commit = Commit(hashlib.sha1(content.encode()).hexdigest(), title, parent, files)
        repo.commits[commit.id] = commit
        repo.branches[branch] = commit.id
        return commit

    def add_blob(self, path: str, content: bytes) -> File:
        key = hashlib.sha256(content).hexdigest()
        (self.blobs / key).write_bytes(content)
        if is_lfs(path, len(content), content[:512]):
            return self.lfs_file(key)
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return File(key, len(content), oid, is_lfs=False)

    def lfs_file(self, key: str) -> File:
        """Of an uploaded blob."""
        size = (self.blobs / key).stat().st_size
        return File(key, size, hashlib.sha1(f"pointer {key} {size}".encode()).hexdigest(), is_lfs=True)

    def user(self, request: Request) -> dict | None:
        """Whoever asks; None without a token."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        user = self.tokens.get(header.removeprefix("Bearer "))
        if user is None:
            raise HubError(401, None, "Invalid credentials in Authorization header")
        return user

    def find(self, request: Request, *, write: bool = False, content: bool = False) -> Repo:
        """The repository of the request's path, if who asks may do that with it: know of it, write, read files."""
        fields, user = request.path_params, self.user(request)
        repo_id = f"{fields['owner']}/{fields['name']}"
        repo = self.repos.get((fields["kind"].removesuffix("s"), repo_id))
        is_member = user is not None and fields["owner"] in (user["name"], *user["orgs"])
        if repo is None or (repo.private and not is_member):
            raise HubError(404 if user else 401, "RepoNotFound", "Repository not found")
        if write and user is None:
            raise HubError(401, None, "Invalid username or password.")
        if write and not (is_member and user["role"] == "write"):
            raise HubError(403, None, f"You don't have the rights to push to {repo_id}")
        if content and repo.gated and not is_member and (user is None or user["name"] not in repo.granted):
            raise HubError(403 if user else 401, "GatedRepo", f"Access to model {repo_id} is restricted")
        return repo


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    named = path.rpartition(".")[2] in LFS_ENDINGS
    return size > 0 and (named or size > REGULAR_LIMIT or b"\0" in sample)


# ── Cards ──


def card_data(content: str) -> dict | None:
    """The metadata of a README.md."""
    match = re.match(r"\s*---\r?\n(.*?)\r?\n---\r?\n", content, re.DOTALL)
    return None if match is None else yaml.safe_load(match[1])


def check_metadata(content: str, repo_type: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a README.md, of those that the real Hub gives."""
    try:
        metadata = card_data(content)
    except yaml.YAMLError as error:
        return [f"YAML is invalid: {error}"], []
    if metadata is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(metadata, dict):
        return ["metadata must be a mapping"], []
    errors = [
        f'"{name}" must be a list of strings'
        for name in ("tags", "datasets", "metrics")
        if not all(isinstance(value, str) for value in metadata.get(name) or [])
    ]
    if repo_type == "space" and metadata.get("sdk") not in ("gradio", "docker", "static", "streamlit"):
        errors.append('"sdk" must be one of [gradio, docker, static, streamlit]')
    for model in metadata.get("model-index") or []:
        if not model.get("name"):
            errors.append('"model-index[0].name" is required')
        for result in model.get("results") or []:
            complete = (result.get("task") or {}).get("type") and (result.get("dataset") or {}).get("type")
            if not complete or not (result.get("dataset") or {}).get("name"):
                errors.append('"model-index[0].results[0]" must have a task type, a dataset type and a dataset name')
            if not all("type" in metric and "value" in metric for metric in result.get("metrics") or [{}]):
                errors.append('"model-index[0].results[0].metrics" must have a type and a value each')
    return errors, []
