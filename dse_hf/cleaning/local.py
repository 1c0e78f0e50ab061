"""Cleans shards on this machine, in this process or in several with one model each."""

import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, get_all_start_methods, get_context
from typing import Any

from ..errors import one_line
from ..evaluation.processes import start_imports
from .plan import Shard, Work
from .shards import ShardCleaner, ShardReport


Progress = Callable[[int, float], None]  # rows and seconds of audio that were cleaned since the last call
MAX_DEATHS = 2  # of processes that clean the same shard


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def devices_for(device: str, processes: int | None) -> list[str]:
    """The device of each process: by default all GPUs, or as many processes as there are processors."""
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        count = torch.cuda.device_count()
        return [f"cuda:{number % count}" for number in range(processes or count)]
    if device in ("auto", "cpu"):
        return ["cpu"] * (processes or processors())
    return [device] * (processes or 1)


def run_here(
    work: Work, shards: Sequence[Shard], devices: Sequence[str], progress: Progress
) -> Iterator[tuple[Shard, ShardReport]]:
    """Cleans shards, and yields each with its report when it is written, in any order.

    A process that is killed is replaced, and its shard begun again.

    Raises:
        ValueError: see [`ShardCleaner`], or a shard whose processes were killed twice.
    """
    devices = devices[: len(shards)]
    if len(devices) == 1:
        cleaner = ShardCleaner(work, devices[0])
        for shard in shards:
            yield shard, cleaner(shard, progress)
        return
    waiting, deaths = list(reversed(shards)), Counter[str]()
    threads = max(1, processors() // len(devices))
    busy = {}
    try:
        for device in devices:
            worker = _Worker(work, device, threads)
            worker.start(waiting.pop())
            busy[worker.connection] = worker
        while busy:
            for ready in connection.wait(list(busy)):
                worker = busy[ready]
                answer = worker.receive()
                if isinstance(answer, tuple):
                    progress(*answer)
                    continue
                del busy[ready]
                if isinstance(answer, ShardReport):
                    yield worker.shard, answer
                elif isinstance(answer, Exception):
                    raise answer
                else:  # it was killed
                    waiting.append(worker.shard)
                    deaths[worker.shard.name] += 1
                    progress(-worker.rows, -worker.seconds)
                    worker.stop()
                    if deaths[worker.shard.name] >= MAX_DEATHS:
                        raise ValueError(
                            f"{worker.shard.name}: the process that cleaned it was killed {MAX_DEATHS} times, perhaps "
                            "for lack of memory; give fewer --processes, and run this again: it goes on from here"
                        )
                    worker = _Worker(work, worker.device, threads)
                if waiting:
                    worker.start(waiting.pop())
                    busy[worker.connection] = worker
                else:
                    worker.stop()
    finally:
        for worker in busy.values():
            worker.stop()


class _Worker:
    """A process that cleans one shard at a time."""

    shard: Shard
    rows, seconds = 0, 0.0  # of the shard, so far

    def __init__(self, work: Work, device: str, threads: int):
        self.device = device
        context = _context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, pickle.dumps(work), device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def start(self, shard: Shard) -> None:
        self.shard, self.rows, self.seconds = shard, 0, 0.0
        with contextlib.suppress(OSError):  # it was killed, which `receive` will tell
            self.connection.send(shard)

    def receive(self) -> tuple[int, float] | ShardReport | Exception | None:
        """New rows and seconds, the report of the shard, what went wrong, or `None` if the process was killed."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(answer, tuple):
            self.rows, self.seconds = self.rows + answer[0], self.seconds + answer[1]
        return answer

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(timeout=10)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _context() -> Any:
    # A forked copy of a process that runs threads may hang. The server of `forkserver` runs none, and imports once.
    start_imports("dse_hf.cleaning.worker_preload")
    return get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")


def _serve(tasks: connection.Connection, work: bytes, device: str, threads: int) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which removes the unfinished file
    torch.set_num_threads(threads)
    cleaner = None
    while True:
        try:
            shard = tasks.recv()
            cleaner = cleaner or ShardCleaner(pickle.loads(work), device)
            answer = cleaner(shard, lambda rows, seconds: tasks.send((rows, seconds)))
        except (EOFError, BrokenPipeError):  # the parent process has ended
            return
        except (ValueError, OSError) as error:
            answer = error
        except Exception as error:  # our own mistake, which a traceback helps to find
            traceback.print_exc()
            answer = RuntimeError(one_line(error))
        tasks.send(answer)
