"""Scores clips in this process or in several."""

import contextlib
import math
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection

from ..data import Clip
from ..errors import one_line
from .metrics import METRICS, score_signal
from .processes import scoring_context
from .systems import System


class EvaluationError(ValueError):
    """A system failed on a clip, or a scoring process was killed. Earlier scores are kept."""


_KILLED = "a scoring process was killed, perhaps for lack of memory; give fewer --jobs"


@dataclass(frozen=True)
class Scoring:
    """How clips are scored: their sampling rate in Hz, the names of their sources, and the names of the metrics."""

    sampling_rate: int
    sources: list[str]
    metrics: list[str]

    def __call__(self, system: System, clip: Clip) -> dict:
        """Returns the record of a clip: its `name` and `attributes`, and `scores` and `not_scored` by source."""
        try:
            estimates = system.separate(clip.mixture, self.sampling_rate, self.sources)
        except Exception as error:  # the code of a peer may raise anything
            raise EvaluationError(f"model {system.name!r} failed on clip {clip.name!r}: {one_line(error)}") from error
        scores, reasons = {}, {}
        for source, reference in zip(self.sources, clip.references):
            if source not in estimates:
                continue
            is_speech = source == self.sources[0]
            wanted = [name for name in self.metrics if is_speech or not METRICS[name].speech_only]
            values, why = score_signal(estimates[source], reference, clip.mixture, self.sampling_rate, wanted)
            scores[source] = {name: value if value is None else round(value, 4) for name, value in values.items()}
            if why:
                reasons[source] = why
        return {"name": clip.name, "attributes": recorded_attributes(clip), "scores": scores, "not_scored": reasons}


def recorded_attributes(clip: Clip) -> dict:
    """The attributes of a clip that the results record. A dataset may have any columns."""
    known: dict = {name: clip.attributes[name] for name in ("kind", "speaker") if name in clip.attributes}
    known = {name: value for name, value in known.items() if isinstance(value, (str, int))}
    with contextlib.suppress(TypeError, ValueError):
        snr = float(clip.attributes.get("snr", "none"))  # text in a CSV file
        if math.isfinite(snr):
            known["snr"] = snr
    return known


def score_all(tasks: Iterator, systems: list[System], scoring: Scoring, jobs: int) -> Iterator[tuple[str, dict]]:
    """Scores tasks (system, clip) in `jobs` processes. Yields name of the system and record of each, in any order."""
    if jobs == 1:
        for system, clip in tasks:
            yield system.name, scoring(system, clip)
        return
    import torch

    threads = max(1, torch.get_num_threads() // jobs)
    workers = [_Worker(pickle.dumps((systems, scoring)), threads) for _ in range(jobs)]
    try:
        idle, busy = list(workers), {}
        for system, clip in tasks:
            if not idle:  # otherwise clips would pile up in memory
                yield from _finished(busy, idle)
            worker = idle.pop()
            worker.send((system.name, clip))
            busy[worker.connection] = worker
        while busy:
            yield from _finished(busy, idle)
    finally:
        for worker in workers:
            worker.stop()


def _finished(busy: dict, idle: list) -> Iterator[tuple[str, dict]]:
    """Waits for at least one busy worker. Yields the results of those that finished, and makes them idle."""
    for ready in connection.wait(busy):
        worker = busy.pop(ready)
        idle.append(worker)
        yield worker.receive()


class _Worker:
    """A process that scores one task at a time."""

    def __init__(self, work: bytes, threads: int):
        context = scoring_context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, work, threads), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, task) -> None:
        try:
            self.connection.send(task)
        except OSError as error:
            raise EvaluationError(_KILLED) from error

    def receive(self) -> tuple[str, dict]:
        try:
            result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise EvaluationError(_KILLED) from error
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _work(tasks: connection.Connection, work: bytes, threads: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles it
    torch.set_num_threads(threads)
    systems, scoring = pickle.loads(work)
    by_name = {system.name: system for system in systems}
    while True:
        try:
            name, clip = tasks.recv()
        except EOFError:
            return
        try:
            tasks.send((name, scoring(by_name[name], clip)))
        except EvaluationError as error:
            tasks.send(error)
