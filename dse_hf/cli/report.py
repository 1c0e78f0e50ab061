"""What `dse-hf separate` prints: a progress bar, two lines or a JSON object for each file, and a summary."""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from ..errors import describe_os_error, one_line
from .console import complain


class Report:
    """Prints the results of the files, and counts them. Failures go to stderr, one line each."""

    def __init__(self, args: argparse.Namespace):
        self.json, self.quiet, self.failed = args.json, args.quiet, 0
        self.piped = "-" in args.files
        self.model = ""
        self.files, self.seconds, self.skips = 0, 0.0, Counter()
        self.started = time.monotonic()
        self._bar: Any = None
        self._told: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._moved = 0.0  # bytes of the files that are finished

    @contextlib.contextmanager
    def catching(self, name: str) -> Generator[None]:
        """Reports the failure of a file, so that the other files are still processed."""
        try:
            yield
        except BrokenPipeError:
            raise
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            message = describe_os_error(error) if isinstance(error, OSError) else str(error)
            message = one_line(message or "out of memory")
            if isinstance(error, (MemoryError, RuntimeError)):
                if "memory" not in message:
                    raise  # our own mistake, which a traceback helps to find
                message = f"{one_line(message, most=100)}; free some memory, or give --device cpu"
            if not message.startswith(f"{one_line(name)}: "):
                message = f"{name}: {message}"
            self.failed += 1
            with self._beside_bar():
                complain(message)
                if self.json:
                    print(json.dumps({"input": name, "error": message}), flush=True)

    @contextlib.contextmanager
    def progress_over(self, files: list[str]) -> Generator[None]:
        """Shows one progress bar for all these files, if stderr is a terminal. A byte of each counts the same."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from tqdm import tqdm

        self._sizes = {file: max(1, os.path.getsize(file)) if os.path.exists(file) else 1 for file in files}
        with tqdm(total=sum(self._sizes.values()), leave=False, file=sys.stderr) as self._bar:
            try:
                yield
            finally:
                self._bar = None

    @contextlib.contextmanager
    def progress(self, name: str) -> Generator[Callable[[float, float | None], None] | None]:
        """Yields a `progress` function for `separate_file`, which moves the bar within a file."""
        bar = self._bar
        if bar is None:
            yield None
            return
        size, number = self._sizes[name], f" ({len(self._sizes)} files)" if len(self._sizes) > 1 else ""
        started, before = time.monotonic(), self._moved

        def move(done: float, total: float | None) -> None:
            counts = f"{done:.0f} of {total:.0f} s" if total else f"{done:.0f} s"
            speed = done / max(time.monotonic() - started, 1e-9)
            bar.bar_format = (
                f"{one_line(os.path.basename(name))}{number}: {{percentage:3.0f}}% |{{bar}}| {counts}, "
                f"{speed:.1f}x real time, {{remaining}} left"
            )
            bar.n = before + (size * min(1.0, done / total) if total else 0)
            bar.refresh()

        try:
            yield move
        finally:
            self._moved = before + size
            bar.n = self._moved

    @contextlib.contextmanager
    def _beside_bar(self) -> Generator[None]:
        """Takes the bar off the screen while something else is printed."""
        if self._bar is not None:
            self._bar.clear()
        yield

    def loaded(self, model) -> None:
        """Prints which model was loaded."""
        self.model = str(model)
        if not (self.json or self.quiet or self.piped):
            print(self.model, flush=True)

    def skipped(self, name: str, reason: str) -> None:
        """Counts a file that is left out. The summary tells how many and why, and JSON has a line for each."""
        self.skips[reason] += 1
        if self.json:
            print(json.dumps({"input": name, "skipped": reason}), flush=True)

    def done(self, result, stream=None) -> None:
        """Prints what was written for a file."""
        self.files, self.seconds = self.files + 1, self.seconds + result.seconds
        with self._beside_bar():
            for note in self._notes(result):
                complain(f"{result.input}: {note}")
            if self.json:
                levels = {name: level if math.isfinite(level) else None for name, level in result.levels.items()}
                print(json.dumps({**dataclasses.asdict(result), "levels": levels, "model": self.model}), flush=True)
            elif not self.quiet:
                channels = "1 channel" if result.channels == 1 else f"{result.channels} channels"
                speed = result.seconds / max(result.elapsed, 1e-9)
                outputs = [f"{path} ({result.levels[name]:.1f} dBFS)" for name, path in result.outputs.items()]
                print(
                    f"{result.input}: {result.seconds:.1f} s of {channels} at {result.sampling_rate} Hz "
                    f"in {result.elapsed:.1f} s, {speed:.1f}x real time\n  {', '.join(outputs)}",
                    file=stream,
                    flush=True,
                )

    def _notes(self, result) -> list[str]:
        # What to install is told once.
        notes = [note for note in result.notes if "pip install" not in note or note not in self._told]
        self._told.update(notes)
        if result.silent:
            notes.append("is silent, and so are its results; check the recording")
        if result.clipped:
            notes.append(
                f"{result.clipped} samples of the results are above full scale and were clipped; "
                "lower the level of the input, or keep floats (--format wav with a file of floats)"
            )
        return notes

    def summary(self) -> None:
        """Prints one line for all files, if there were several or some were skipped."""
        if self.json or self.quiet or self.files + self.failed + sum(self.skips.values()) < 2:
            return
        elapsed = time.monotonic() - self.started
        text = f"{_count(self.files, 'file')} separated, {_duration(self.seconds)} of sound in {_duration(elapsed)}"
        if self.skips:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skips.most_common())
            text += f"; {sum(self.skips.values())} skipped: {reasons}"
        if self.failed:
            text += f"; {self.failed} failed"
        print(text, flush=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(seconds: float) -> str:
    """Such as 8.2 s, 12.5 min or 3.1 h."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
