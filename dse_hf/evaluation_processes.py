"""Starts the processes that score. It imports nothing slow itself."""

import multiprocessing
import signal
import threading


_FORKS = "forkserver" in multiprocessing.get_all_start_methods()


def start_imports() -> None:
    """Lets another process import what those that score will share; where none can be forked, does nothing."""
    if not _FORKS:
        return
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["dse_hf.evaluation_imports"])
    handler = signal.getsignal(signal.SIGINT)
    if handler is None or threading.current_thread() is not threading.main_thread():  # it is not ours to change
        forkserver.ensure_running()
        return
    # Without a traceback for an interruption before its first import, either.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def scoring_context():
    """The context of `multiprocessing` that makes the processes."""
    start_imports()
    return multiprocessing.get_context("forkserver" if _FORKS else "spawn")
