"""Writes files under a temporary name and renames them, so that they appear only when they are complete."""

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path


LONGEST_NAME = 255  # bytes, on common file systems


def temporary_name(path: str | os.PathLike) -> Path:
    """Returns an unused hidden name in the same folder: `.<name>.<8 hex digits>.part`.

    The name is shortened so that it is not longer than file systems allow, if the name of `path` is not.
    """
    path, ending = Path(path), f".{secrets.token_hex(4)}.part"
    name = path.name.encode("utf-8", "surrogateescape")[: LONGEST_NAME - len(ending) - 1].decode("utf-8", "ignore")
    return path.with_name(f".{name}{ending}")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, overwrite: bool = True) -> Generator[Path]:
    """Yields a temporary name to write to. If the block succeeds, the file is renamed to `path`, otherwise removed.

    Without `overwrite`, a file that has the name by then stays, and a FileExistsError is raised.
    """
    part = temporary_name(path)
    try:
        yield part
        if overwrite:
            os.replace(part, path)
        else:
            _rename_to_new(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _rename_to_new(part: Path, path: str | os.PathLike) -> None:
    if os.name == "nt":
        os.rename(part, path)  # where this fails if the name is taken
        return
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        open(path, "xb").close()
        os.replace(part, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8 with [`atomic_write`]."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
