"""A target on the Hub: a dataset that grows by commits while later shards are computed."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .plan import Plan, Shard
from .shards import ShardReport, read_report
from .targets import CARD, FolderTarget, Texts, check_files


class HubTarget:
    """A dataset on the Hub.

    The shards are written to a working folder, uploaded one by one, and committed every `commit_seconds`. Each commit
    is a dataset that can be read.
    """

    texts: Texts
    parent = ""  # the last commit

    def __init__(
        self,
        name: str,
        overwrite: bool = False,
        private: bool = False,
        work_dir: str | None = None,
        commit_seconds: float = 300.0,
    ):
        from huggingface_hub import HfApi
        from huggingface_hub.constants import HF_HOME

        self.name, self.overwrite, self.private, self.commit_seconds = name, overwrite, private, commit_seconds
        self.api, self.where = HfApi(), {"repo_id": name, "repo_type": "dataset"}
        self.work_dir = work_dir or str(Path(HF_HOME, "dse-hf-clean"))
        self.present: set[str] = set()  # names of shards that are committed
        self.outdated: list[str] = []  # paths that the next commit removes
        self.waiting: list[str] = []  # names of shards that are written
        self.uploaded: list = []  # operations of the next commit
        self.queue: queue.Queue = queue.Queue()  # names of shards to upload
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._upload_all, daemon=True)

    def prepare(self, plan: Plan, restricted: bool = False) -> dict[str, ShardReport]:
        """Makes the repository, and returns the reports of the shards that are on the Hub or in the working folder.

        A new repository is private if the source is `restricted`.

        Raises:
            ValueError: the repository holds something else, or may not be written to.
        """
        from huggingface_hub import HfFileSystem

        from ..hub.publishing import explaining

        with explaining(self.name):
            self.parent = self._make_repo(self.private or restricted)
            files = self.api.list_repo_files(**self.where, revision=self.parent)
            fs, place = HfFileSystem(), f"datasets/{self.name}@{self.parent}"
            card = fs.read_text(f"{place}/{CARD}") if CARD in files else None
            self.outdated = check_files(self.name, files, card, plan, self.overwrite)
            present = [shard.name for shard in plan.shards if shard.name in files]
            with ThreadPoolExecutor(16) as pool:
                reports = dict(zip(present, pool.map(lambda name: read_report(fs, f"{place}/{name}"), present)))
        self.present.update(present)
        # A folder of its own, as this deletes files.
        folder = FolderTarget(f"{self.work_dir}/{self.name.replace('/', '--')}-{plan.fingerprint}", overwrite=True)
        self.storage, self.output = folder.storage, folder.output
        written = folder.prepare(plan)
        self.waiting = [name for name in written if name not in self.present]
        return {**written, **reports}

    def _make_repo(self, private: bool) -> str:
        """Makes the repository if it does not exist, and returns its last commit. Raises the Hub's errors."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.repo_info(**self.where)
        except RepositoryNotFoundError:
            self.api.create_repo(**self.where, private=private)
            info = self.api.repo_info(**self.where)
        if self.private and not info.private:
            raise ValueError(f"{self.name}: exists and is public; make it private on its settings page")
        self._check_rights()
        return str(info.sha)

    def _check_rights(self) -> None:
        """Raises the Hub's error if it would not take files, so that nothing is computed in vain."""
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = f"{self.api.endpoint}/api/datasets/{self.name}/preupload/main"
        files = [{"path": CARD, "sample": "", "size": 0}]
        hf_raise_for_status(get_session().post(url, json={"files": files}, headers=build_hf_headers()))

    # ── Uploads, in a thread ──

    def begin(self, texts: Texts) -> None:
        """Begins to upload what an earlier run has written. `texts` gives the card and the like."""
        self.texts = texts
        self.thread.start()
        for name in self.waiting:
            self.queue.put(name)

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
                    names = self.present | {operation.path_in_repo for operation in self.uploaded}
                    self._commit(self.texts(names, False), "Add cleaned shards with dse-hf")
                    last = time.monotonic()
        except Exception as error:
            self.error = error

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
        """Waits for the uploads, and commits the rest with the card. Returns the address of the result."""
        self.queue.put(None)
        self.thread.join()
        if self.error is not None:
            raise self.error
        self._commit(texts, "Clean with dse-hf")
        if self.storage.fs.exists(self.storage.root):
            self.storage.fs.rm(self.storage.root, recursive=True)
        return f"{self.api.endpoint}/datasets/{self.name}/tree/{self.parent}"
