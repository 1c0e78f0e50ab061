"""Runs `dse-hf` in forked processes, which can be killed. Starting Python would take longer than the trial."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dse_hf import cli

from .trials import REFUSED, RIGHT, check, refusal


@dataclass
class Ended:
    """How a process ended: its exit status (minus the signal that killed it), its output, and how long it took."""

    status: int
    printed: str
    errors: str
    seconds: float

    def outcome(self) -> str:
        """`RIGHT` for success, `REFUSED` for exit status 1 and one or two readable lines. All else is a failure."""
        if self.status == 0:
            return RIGHT
        check(self.status == 1, f"exit status {self.status}: {self.errors[-1500:]}")
        lines = self.errors.strip().splitlines()
        check(1 <= len(lines) <= 2, f"{len(lines)} lines instead of one: {self.errors[-1500:]}")
        for line in lines:
            refusal(ValueError(line))
        return REFUSED


def run(
    arguments: list,
    folder: Path,
    *,
    kill_after: float | None = None,
    meanwhile: Callable[[int], None] | None = None,
    inside: Callable[[], None] | None = None,
    timeout: float = 120.0,
) -> Ended:
    """Runs `dse-hf ARGUMENTS` in the folder.

    After `kill_after` seconds the process, and those that it started, get SIGKILL. After `timeout` seconds it counts
    as hanging. `meanwhile` gets its id while it runs. `inside` is called in the process before anything else.
    """
    out, errors = folder / ".out", folder / ".err"
    for path in (out, errors):  # the process may be killed before it opens them
        path.touch()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        _be_the_command([str(argument) for argument in arguments], folder, out, errors, inside)
    try:
        if meanwhile is not None:
            meanwhile(process)
        status = _wait(process, start + (timeout if kill_after is None else kill_after))
        if status is None:
            if kill_after is None:
                os.kill(process, signal.SIGUSR1)  # the process then prints where it hangs
                time.sleep(2)
            _kill(process)
            check(kill_after is not None, f"still running after {timeout:g} seconds")
            _, status = os.waitpid(process, 0)
    except BaseException:
        _kill(process)
        raise
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, out.read_text(), errors.read_text(), time.monotonic() - start)


def _be_the_command(arguments: list[str], folder: Path, out: Path, errors: Path, inside) -> None:
    status = 70
    try:
        os.setsid()
        os.chdir(folder)
        for descriptor, path in ((1, out), (2, errors)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        if inside is not None:
            inside()
        status = cli.main(arguments)
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 70)


def _wait(process: int, until: float) -> int | None:
    """The status of a process when it has ended, or `None` if it still runs at the time `until`."""
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= until:
            return None
        time.sleep(0.005)


def _kill(process: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
