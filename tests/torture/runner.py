"""Runs trials in a worker process, which may hang, crash or be killed, and counts the outcomes."""

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
START_SECONDS = 600  # time for the worker to import torch on a busy machine
WARM_UP_SECONDS = 300  # extra time for the first case of a trial in a worker, which imports and builds what it needs
MOST_KEPT = 20  # number of failed cases of a trial whose files are kept


@dataclass
class Tally:
    """The outcomes of a trial: counts, the numbers of the failed cases, and the seconds that all cases took."""

    cases: int = 0
    right: int = 0
    refused: int = 0
    failed: list[int] = field(default_factory=list)
    seconds: float = 0.0


class Worker:
    """The process that runs the cases. It is started when it is needed, and again after a case ended it."""

    def __init__(self, log: Path):
        self.log = log
        self._process = None
        self._warm: set[str] = set()  # trials of which the process has run a case

    def run(self, trial: Trial, seed: int, number: int, folder: Path) -> dict[str, str]:
        """Runs one case. Returns its `outcome`, and the `error` of a failure."""
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
            self._process.send_signal(signal.SIGUSR1)  # the worker then prints where it is
            time.sleep(2)
            self.stop()
            where = self.log.read_bytes()[start_of_log:][-8000:].decode(errors="replace")
            # The load helps to tell a case that hangs from a slow one on a busy machine.
            busy = f"with a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
            return {"outcome": "failure", "error": f"{where}\nhangs: did not end after {trial.seconds:g} s, {busy}"}
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
        """Ends the worker, and the processes that its case started."""
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
        """Starts the process if it does not run."""
        if self._process is not None:
            return
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment["TMPDIR"] = str(self.log.parent)  # deleted at the end with everything that the cases leave
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
        """The next line from the worker, or `None` if it has ended."""
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
    """Runs the trials in turn, by their shares of the time, until the time is over or all have reached their limit.

    The files of failed cases go to the folder `kept`, and `tell` gets a line about each failure. A case that has begun
    when the time is over is finished.
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


def _run_case(worker: Worker, trial: Trial, seed, number, tally: Tally, temporary: Path, kept: Path, tell) -> None:
    folder = temporary / "case"
    folder.mkdir()
    worker.start()  # before the clock starts
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
    """A table of the counts, with their sums in the last row."""
    rows = [("trial", "cases", "right", "refused", "failures")]
    counts = [(tally.cases, tally.right, tally.refused, len(tally.failed)) for tally in tallies.values()]
    rows += [(name, *map(str, count)) for name, count in zip(tallies, counts)]
    rows.append(("all", *(str(sum(column)) for column in zip(*counts))))
    width = max(len(row[0]) for row in rows)
    lines = [f"{row[0]:<{width}}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    return "\n".join(lines)
