"""Files in a folder, or in another place that fsspec writes to. A file appears only when it is complete."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..files import atomic_write


class Storage:
    """A place for files. Paths are relative to `root`, a folder or a URL such as s3://bucket/folder."""

    def __init__(self, root: str):
        import fsspec

        self.fs, self.root = fsspec.core.url_to_fs(os.path.expanduser(root))
        self.is_local = "file" in self.fs.protocol

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def list(self) -> list[str]:
        """The paths of all files."""
        self.fs.invalidate_cache()
        return sorted(path.removeprefix(self.root).lstrip("/") for path in self.fs.find(self.root))

    @contextmanager
    def writing(self, name: str) -> Generator[Path]:
        """Yields a local path to write to. If the block succeeds, the file gets its name."""
        if self.is_local:
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            with atomic_write(self.path(name)) as part:
                yield part
            return
        with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
            part = Path(folder, "part")
            yield part
            self.fs.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            self.fs.put_file(str(part), self.path(name))

    @contextmanager
    def reading(self, name: str) -> Generator[Path]:
        """Yields a local path of a file."""
        if self.is_local:
            yield Path(self.path(name))
            return
        with tempfile.TemporaryDirectory(prefix="dse-hf-") as folder:
            self.fs.get_file(self.path(name), f"{folder}/part")
            yield Path(folder, "part")

    def check(self, name: str) -> None:
        """Raises a ValueError if a file that another process wrote is not here."""
        self.fs.invalidate_cache()
        if not self.fs.exists(self.path(name)):
            raise ValueError(
                f"{self.path(name)}: was written on another machine; give a folder that all machines share, such as "
                "s3://bucket/folder, as --work-dir or as the target"
            )

    def remove(self, name: str) -> None:
        self.fs.rm_file(self.path(name))
