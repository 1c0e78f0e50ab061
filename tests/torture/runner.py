"""Runs trials in a worker process that may hang, crash or be killed, and counts what comes of them."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .trials import REFUSED, RIGHT, Trial


ROOT = Path(__file__).parents[2]
START_SECONDS = 600  # for the worker to import torch, on a machine with other work
WARM_UP_SECONDS = 300  # more for the first case of a trial in a worker, which imports and builds what the others use
MOST_KEPT = 20  # failing cases of a trial whose files are kept


@dataclass
class Tally:
    """Counts of a trial's outcomes, the numbers of the cases that failed, and the seconds that all took."""

    cases: int = 0
    right: int = 0
    refused: int = 0
    failed: list[int] = field(default_factory=list)
    seconds: float = 0.0


class Worker:
    """The process that cases run in; started when it is needed, and again after a case took it down."""

    def __init__(self, log: Path):
        self.log = log
        self._process = None
        self._warm: set[str] = set()  # trials that the process has run a case of

    def run(self, trial: Trial, seed: int, number: int, folder: Path) -> dict[str, str]:
        """Runs one case: its `outcome`, and the `error` of a failure."""
        self.start()
        start_of_log = self.log.stat().st_size
        request = {"trial": trial.name, "seed": seed, "number": number, "folder": str(folder)}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._answer(trial.seconds + (0 if trial.name in self._warm else WARM_UP_SECONDS))
            self._warm.add(trial.name)
        except BrokenPipeError:
            answer = None
        except TimeoutError:
            self._process.send_signal(signal.SIGUSR1)  # then it prints where it is
            time.sleep(2)
            self.stop()
            where = self.log.read_bytes()[start_of_log:][-8000:].decode(errors="replace")
            # Without this, one that was starved by other work looks like one that waits for ever.
            busy = f"with {os.getloadavg()[0]:.1f} processes at work on {os.cpu_count()} processors"
            return {"outcome": "failure", "error": f"{where}\nhangs: no end after {trial.seconds:g} s, {busy}"}
        printed = self.log.read_bytes()[start_of_log:][-4000:].decode(errors="replace")
        if answer is None:
            status = self._process.wait()
            self.stop()
            reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            return {"outcome": "failure", "error": f"{printed}\nthe process ended: {reason}"}
        if "Traceback" in printed and answer["outcome"] != "failure":
            return {"outcome": "failure", "error": f"a traceback was printed:\n{printed}"}
        return answer

    def stop(self) -> None:
        """Ends the worker, and what its case may have started."""
        process, self._process = self._process, None
        self._warm.clear()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()

    def start(self) -> None:
        """Starts the process if there is none."""
        if self._process is not None:
            return
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["TMPDIR"] = str(self.log.parent)  # deleted in the end, whatever cases leave there
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.torture.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        try:
            ready = self._answer(START_SECONDS)
        except TimeoutError:
            ready = None
        if ready is None:
            self.stop()
            raise RuntimeError(f"the worker does not start: {self.log.read_text(errors='replace')[-2000:]}")

    def _answer(self, seconds: float) -> dict | None:
        """The worker's next line; `None` if it ended."""
        line, deadline = b"", time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                part = os.read(self._process.stdout.fileno(), 2**16)
                if not part:
                    return None
                line += part
        return json.loads(line)


def run_trials(
    trials: list[Trial],
    seed: int,
    kept: Path,
    minutes: float = float("inf"),
    limit: Callable[[Trial], int | None] = lambda trial: trial.most,
    first: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Tally]:
    """Runs the trials in turn, by their shares of the time, until it is over or all reached their limit of cases.

    Args:
        trials (`list[Trial]`): to run.
        seed (`int`): of all chance.
        kept (`Path`): folder for the files of cases that fail; made if there are any.
        minutes (`float`): a case that was begun is finished.
        limit (`Callable`): trial → the most cases of it, or `None`.
        first (`int`): number of the first case of each.
        tell (`Callable`): called with a line about each failure.
    """
    tallies = {trial.name: Tally() for trial in trials}
    deadline = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="dse-hf-torture-") as temporary:
        log = Path(temporary, "worker.log")
        log.touch()
        worker = Worker(log)
        try:
            waiting = list(trials)
            while waiting and time.monotonic() < deadline:
                trial = min(waiting, key=lambda trial: tallies[trial.name].seconds / trial.share)
                tally, most = tallies[trial.name], limit(trial)
                if most is not None and tally.cases >= most:
                    waiting.remove(trial)
                    continue
                _run_case(worker, trial, seed, first + tally.cases, tally, Path(temporary), kept, tell)
        finally:
            worker.stop()
    return tallies


def _run_case(
    worker: Worker, trial: Trial, seed, number: int, tally: Tally, temporary: Path, kept: Path, tell
) -> None:
    folder = temporary / "case"
    folder.mkdir()
    worker.start()  # whose time is no trial's
    started = time.monotonic()
    try:
        answer = worker.run(trial, seed, number, folder)
        tally.seconds += time.monotonic() - started
        tally.cases += 1
        tally.right += answer["outcome"] == RIGHT
        tally.refused += answer["outcome"] == REFUSED
        if answer["outcome"] == "failure":
            tally.failed.append(number)
            tell(f"{trial.name} {number}: {answer['error'].strip().splitlines()[-1]}")
            if len(tally.failed) <= MOST_KEPT:
                _keep(kept / f"{trial.name}-{seed}-{number}", folder, trial, seed, number, answer["error"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(place: Path, folder: Path, trial: Trial, seed: int, number: int, error: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, symlinks=True)
    again = f"python -m tests.torture --only {trial.name} --seed {seed} --case {number}"
    (place / "error.txt").write_text(f"{error}\nAgain: {again}\n", encoding="utf-8")


def table(tallies: dict[str, Tally]) -> str:
    """The counts in columns, with their sums below."""
    rows = [("trial", "cases", "right", "refused", "failures")]
    counts = [(tally.cases, tally.right, tally.refused, len(tally.failed)) for tally in tallies.values()]
    rows += [(name, *map(str, count)) for name, count in zip(tallies, counts)]
    rows.append(("all", *(str(sum(column)) for column in zip(*counts))))
    width = max(len(row[0]) for row in rows)
    lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    return "\n".join(lines)
