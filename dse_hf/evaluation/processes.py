"""Starts the scoring processes. This module imports nothing slow itself."""

import multiprocessing
import signal
from typing import Any


_FORKS = "forkserver" in multiprocessing.get_all_start_methods()


def start_imports(module: str = "dse_hf.evaluation.worker_preload") -> None:
    """Starts the process that imports a module, which new processes need, and is then forked for each of them.

    Does nothing if that process runs, or where processes cannot be forked.
    """
    if not _FORKS:
        return
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # before the mask, which it would lift
    # The new process inherits the mask: an interruption waits until `worker_preload` has set how the process ends.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def scoring_context() -> Any:
    """The context of `multiprocessing` for scoring processes."""
    start_imports()
    return multiprocessing.get_context("forkserver" if _FORKS else "spawn")
