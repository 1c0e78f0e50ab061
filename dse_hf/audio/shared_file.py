"""A second position in an open file, for a second reader of it."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO


class SharedFile:
    """An open file that someone else reads too. It keeps a position of its own."""

    def __init__(self, file: BinaryIO):
        self._file, self._position = file, 0

    def read(self, size: int = -1) -> bytes:
        return self._at_own_position(lambda: self._file.read(size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._at_own_position(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._position

    def _at_own_position(self, step: Callable) -> Any:
        others = self._file.tell()
        try:
            self._file.seek(self._position)
            result = step()
            self._position = self._file.tell()
            return result
        finally:
            self._file.seek(others)
