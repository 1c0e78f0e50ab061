"""Where the result goes: a folder, or another place that fsspec writes to. `hub_target` has that on the Hub."""

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from .plan import Plan, Shard, is_shard
from .shards import ShardReport, read_report
from .storage import Storage


CARD, DROPPED = "README.md", "dropped.csv"
MARK = "<!-- made by dse-hf clean -->"
Texts = Callable[[Iterable[str], bool], dict[str, str]]  # names of shards, whether they are all → path → text


def is_hub_name(target: str) -> bool:
    """Whether a target is a dataset on the Hub: `owner/name`, not a path that exists or begins with a dot."""
    owner, slash, name = target.partition("/")
    is_path = target.startswith((".", "/", "~")) or "://" in target or "\\" in target or os.path.exists(target)
    return bool(slash and owner and name) and "/" not in name and not is_path


def check_files(target: str, files: Iterable[str], card: str | None, plan: Plan, overwrite: bool) -> list[str]:
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


def _is_unfinished(name: str) -> bool:
    """Whether a file has a temporary name of `atomic_write`, for one of our files."""
    match = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.part", name)
    return match is not None and (is_shard(match[1]) or match[1] in (CARD, DROPPED))


class FolderTarget:
    """A folder, or another place that fsspec writes to. The shards are written to it directly."""

    def __init__(self, name: str, overwrite: bool = False):
        self.name, self.overwrite, self.storage = name, overwrite, Storage(name)
        self.output = self.storage.root if self.storage.is_local else name  # processes may run in other folders
        if self.storage.is_local and os.path.isfile(self.storage.root):
            raise ValueError(f"{name}: is a file; give a folder")

    def prepare(self, plan: Plan, restricted: bool = False) -> dict[str, ShardReport]:
        """Returns the reports of the shards that are there. Removes what an earlier run left unfinished."""
        files = self._finished_files()
        card = None
        if CARD in files:
            with self.storage.fs.open(self.storage.path(CARD), "rb") as file:
                card = file.read().decode("utf-8", "replace")
        for path in check_files(self.name, files, card, plan, self.overwrite):
            if path == CARD or path.endswith(".parquet"):  # other files are not ours to delete
                self.storage.remove(path)
        present = [shard.name for shard in plan.shards if shard.name in files]
        with ThreadPoolExecutor(16) as pool:
            reports = pool.map(lambda name: read_report(self.storage.fs, self.storage.path(name)), present)
            return dict(zip(present, reports))

    def _finished_files(self) -> list[str]:
        """Lists the files, and removes what processes that were killed left unfinished."""
        files = self.storage.list()
        for path in [path for path in files if _is_unfinished(os.path.basename(path))]:
            self.storage.remove(path)
            files.remove(path)
        return files

    def begin(self, texts: Texts) -> None:
        """Is called before the first shard is cleaned."""

    def add(self, shard: Shard) -> None:
        """Is called for each shard that is written."""
        self.storage.check(shard.name)

    def finish(self, texts: dict[str, str]) -> str:
        """Adds the card and the like. Returns where the result is."""
        for name, text in texts.items():
            with self.storage.writing(name) as path:
                path.write_text(text, encoding="utf-8")
        self._finished_files()
        return self.name
