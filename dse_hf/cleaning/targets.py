"""Where the result goes: a folder, or a dataset on the Hub that grows by commits while later shards are computed."""

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .plan import Plan, Shard, is_shard
from .shards import ShardReport, read_report
from .storage import Storage


CARD, DROPPED = "README.md", "dropped.csv"
MARK = "<!-- made by dse-hf clean -->"
Texts = Callable[[Iterable[str], bool], dict[str, str]]  # names of shards, whether they are all → path → text


def is_hub_name(target: str) -> bool:
    """Whether a target is a dataset on the Hub: `owner/name`, not a path that exists or begins with a dot."""
    owner, slash, name = target.partition("/")
    is_path = target.startswith((".", "/", "~")) or "://" in target or os.sep * 2 in target or os.path.exists(target)
    return bool(slash and owner and name) and "/" not in name and "\\" not in target and not is_path


def _check_files(target: str, files: Iterable[str], card: str | None, plan: Plan, overwrite: bool) -> list[str]:
    """Returns the files that are in the way. Raises a ValueError if there are some, unless `overwrite`."""
    others = [path for path in files if not is_shard(path, plan.fingerprint)]
    others = [path for path in others if path not in (".gitattributes", DROPPED)]
    if card is not None and MARK in card:
        others = [path for path in others if path != CARD]
    if others and not overwrite:
        made = any(map(is_shard, others))
        what = "the result of another source, model or options" if made else f"other files, such as {others[0]}"
        raise ValueError(f"{target}: holds {what}; give another target, or --overwrite to replace it")
    return others


class FolderTarget:
    """A folder, or another place that fsspec writes to. The shards are written to it directly."""

    def __init__(self, name: str, overwrite: bool = False):
        self.name, self.output, self.overwrite = name, name, overwrite
        self.storage = Storage(name)
        if self.storage.is_local and os.path.isfile(self.storage.root):
            raise ValueError(f"{name}: is a file; give a folder")

    def prepare(self, plan: Plan, restricted: bool = False) -> dict[str, ShardReport]:
        """Returns the reports of the shards that are there. Removes what an earlier run left unfinished."""
        files = self.storage.list()
        for path in [path for path in files if path.endswith(".part") and os.path.basename(path).startswith(".")]:
            if is_shard(os.path.basename(path)[1:].rpartition(".")[0].rpartition(".")[0]):
                self.storage.remove(path)
                files.remove(path)
        card = None
        if CARD in files:
            with self.storage.fs.open(self.storage.path(CARD), "rb") as file:
                card = file.read().decode("utf-8", "replace")
        for path in _check_files(self.name, files, card, plan, self.overwrite):
            if path == CARD or path.endswith(".parquet"):  # other files are not ours to delete
                self.storage.remove(path)
        present = [shard.name for shard in plan.shards if shard.name in files]
        with ThreadPoolExecutor(16) as pool:
            reports = pool.map(lambda name: read_report(self.storage.fs, self.storage.path(name)), present)
            return dict(zip(present, reports))

    def add(self, shard: Shard) -> None:
        """Is told of each shard that is written."""
        self.storage.check(shard.name)

    def finish(self, texts: dict[str, str]) -> str:
        """Adds the card and the like. Returns where the result is."""
        for name, text in texts.items():
            with self.storage.writing(name) as path:
                path.write_text(text, encoding="utf-8")
        return self.name

    def close(self) -> None:
        """Ends what runs beside."""


class HubTarget:
    """A dataset on the Hub.

    The shards are written to a working folder, uploaded one by one, and committed every `commit_seconds`. Each commit
    is a dataset that can be read.
    """

    def __init__(
        self,
        name: str,
        overwrite: bool = False,
        private: bool = False,
        work_dir: str | None = None,
        commit_seconds: float = 300.0,
    ):
        from huggingface_hub import HfApi

        self.name, self.overwrite, self.private, self.commit_seconds = name, overwrite, private, commit_seconds
        self.api, self.where = HfApi(), {"repo_id": name, "repo_type": "dataset"}
        self.work_dir = work_dir
        self.texts: Texts = lambda names, complete: {}
        self.parent, self.present, self.outdated = "", set[str](), list[str]()

    def prepare(self, plan: Plan, restricted: bool) -> dict[str, ShardReport]:
        """Makes the repository, and returns the reports of the shards that are on the Hub or in the working folder.

        Raises:
            ValueError: the repository holds something else, or may not be written to.
        """
        from huggingface_hub import HfFileSystem
        from huggingface_hub.constants import HF_HOME
        from huggingface_hub.errors import RepositoryNotFoundError

        from ..hub.publishing import explaining

        folder = self.name.replace("/", "--")
        self.output = self.work_dir or str(Path(HF_HOME, "dse-hf-clean", f"{folder}-{plan.fingerprint}"))
        with explaining(self.name):
            try:
                info = self.api.repo_info(**self.where)
            except RepositoryNotFoundError:
                self.api.create_repo(**self.where, private=self.private or restricted)
                info = self.api.repo_info(**self.where)
            if self.private and not info.private:
                raise ValueError(f"{self.name}: exists and is public; make it private on its settings page")
            self._check_rights()
            self.parent = str(info.sha)
            files = self.api.list_repo_files(**self.where, revision=self.parent)
            place = f"datasets/{self.name}@{self.parent}"
            fs = HfFileSystem()
            card = fs.read_text(f"{place}/{CARD}") if CARD in files else None
            self.outdated = _check_files(self.name, files, card, plan, self.overwrite)
            self.present = {shard.name for shard in plan.shards if shard.name in files}
            with ThreadPoolExecutor(16) as pool:
                reports = dict(
                    zip(self.present, pool.map(lambda name: read_report(fs, f"{place}/{name}"), self.present))
                )
        self.storage = Storage(self.output)
        waiting = FolderTarget(self.output, overwrite=True).prepare(plan)
        self._start()
        for shard in plan.shards:
            if shard.name in waiting and shard.name not in self.present:
                self.add(shard)
        return {**waiting, **reports}

    def _check_rights(self) -> None:
        """Raises the Hub's error if it would not take files, so that nothing is computed in vain."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = f"{self.api.endpoint}/api/datasets/{self.name}/preupload/main"
        files = [{"path": CARD, "sample": "", "size": 0}]
        hf_raise_for_status(get_session().post(url, json={"files": files}, headers=build_hf_headers()))

    # ── Uploads, in a thread ──

    def _start(self) -> None:
        self.queue: queue.Queue = queue.Queue()
        self.uploaded: list = []
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._upload_all, daemon=True)
        self.thread.start()

    def add(self, shard: Shard) -> None:
        """Uploads a shard that is written. Raises the error of an earlier upload."""
        if self.error is not None:
            raise self.error
        self.storage.check(shard.name)
        self.queue.put(shard.name)

    def _upload_all(self) -> None:
        last = -self.commit_seconds
        try:
            while (name := self.queue.get()) is not None:
                self._upload(name)
                if time.monotonic() - last >= self.commit_seconds:
                    self._commit(self.texts(self._names(), False), "Add cleaned shards with dse-hf")
                    last = time.monotonic()
        except Exception as error:
            self.error = error

    def _names(self) -> set[str]:
        return self.present | {operation.path_in_repo for operation in self.uploaded}

    def _upload(self, name: str) -> None:
        from huggingface_hub import CommitOperationAdd

        from ..hub.publishing import explaining

        with self.storage.reading(name) as path:
            operation = CommitOperationAdd(name, str(path))
            with explaining(self.name, self.parent):
                self.api.preupload_lfs_files(self.name, [operation], repo_type="dataset")
        self.uploaded.append(operation)  # it has no content any more

    def _commit(self, texts: dict[str, str], message: str) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        from ..hub.publishing import explaining

        added, self.uploaded = self.uploaded, []
        new = {operation.path_in_repo for operation in added} | texts.keys()
        operations: list[Any] = [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
        operations += [CommitOperationDelete(path) for path in self.outdated if path not in new]
        with explaining(self.name, self.parent):
            commit = self.api.create_commit(
                **self.where, operations=[*added, *operations], commit_message=message, parent_commit=self.parent
            )
        self.parent, self.outdated = commit.oid, []
        for operation in added:  # the disk need not hold the whole dataset
            self.present.add(operation.path_in_repo)
            self.storage.remove(operation.path_in_repo)

    def finish(self, texts: dict[str, str]) -> str:
        """Commits the rest with the card. Returns the address of the last commit."""
        self.close()
        if self.error is not None:
            raise self.error
        self._commit(texts, "Clean with dse-hf")
        if self.work_dir is None:
            shutil.rmtree(self.output, ignore_errors=True)
        return f"{self.api.endpoint}/datasets/{self.name}/tree/{self.parent}"

    def close(self) -> None:
        """Waits for the uploads that were begun."""
        self.queue.put(None)
        self.thread.join()
