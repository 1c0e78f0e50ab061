"""Starts the processes that score. It imports nothing slow itself."""

import multiprocessing
import signal


_FORKS = "forkserver" in multiprocessing.get_all_start_methods()


def start_imports() -> None:
    """Lets another process import what those that score will share; where none can be forked, does nothing."""
    if not _FORKS:
        return
    from multiprocessing import forkserver, resource_tracker

    forkserver.set_forkserver_preload(["dse_hf.evaluation.worker_preload"])
    resource_tracker.ensure_running()  # it takes the mask away
    # Until it has imported what says how it ends, an interruption waits there; here, for these lines alone.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def scoring_context():
    """The context of `multiprocessing` that makes the processes."""
    start_imports()
    return multiprocessing.get_context("forkserver" if _FORKS else "spawn")
