"""The process that runs the cases. The runner sends a line of JSON for each case and gets a line with its outcome."""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import all_trials
from .trials import REFUSED, RIGHT, Case, Failure, Trial


# Address space beyond the limit of a trial. A case that asks for more gets an error, so the machine stays safe.
NET_MEGABYTES = 2048


def serve(requests, answers) -> None:
    """Runs cases until the requests end."""
    trials = all_trials()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in requests:
        request = json.loads(line)
        answer = answer_for(trials[request["trial"]], request["seed"], request["number"], Path(request["folder"]))
        print(json.dumps(answer), file=answers, flush=True)


def answer_for(trial: Trial, seed: int, number: int, folder: Path) -> dict[str, str]:
    """Runs one case. Returns its `outcome`, and the `error` of a failure."""
    rng = np.random.default_rng([seed, zlib.crc32(trial.name.encode()), number])
    try:
        with _memory_limit(trial.megabytes):
            outcome = trial.run(Case(number, rng, folder))
        if outcome not in (RIGHT, REFUSED):
            raise Failure(f"the trial returned {outcome!r}")
        return {"outcome": outcome}
    except BaseException as error:  # a case may raise any exception
        return {"outcome": "failure", "error": "".join(traceback.format_exception(error))}


@contextlib.contextmanager
def _memory_limit(megabytes: int | None):
    if megabytes is None or not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    net = (_status("VmSize") + megabytes + NET_MEGABYTES) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (net, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
    grown = _status("VmHWM") - before
    if grown > megabytes:
        raise Failure(f"used {grown} MB of memory; {megabytes} are allowed")


def _status(field: str) -> int:
    """A size of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) // 1024
    raise KeyError(field)


def unshare_progress_lock() -> None:
    """Gives tqdm a lock of this process. A forked process that is killed would keep the shared one locked."""
    tqdm.set_lock(threading.RLock())


if __name__ == "__main__":
    unshare_progress_lock()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps the output of libraries out of the answers
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)  # the runner asks for it if a case hangs
    serve(sys.stdin, answers)
