"""The command line `dse-hf`. Whatever takes time to import is imported by the command that needs it."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

from .. import __version__
from . import app, convert, evaluate, export, publish, separate, train
from .console import FAILURE, INTERRUPTED, complain


# A command is a file with `HELP`, its line in `--help`; `run(args)`, which gives the exit status; and
# `add_arguments(parser)`. Without the last, `run` gets the rest of the command line as it is.
COMMANDS: dict[str, ModuleType] = {
    "separate": separate,
    "train": train,
    "evaluate": evaluate,
    "publish": publish,
    "convert": convert,
    "export": export,
    "app": app,
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv` (by default the process's own) and returns the exit status.

    Raises:
        SystemExit: for a usage error (2), `--help` and `--version` (0), and when terminated.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # a file's name need not be text
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")
    with _terminable():
        try:
            command = COMMANDS.get(argv[0]) if argv else None
            if command is not None and not hasattr(command, "add_arguments"):
                return command.run(argv[1:])
            args = _parser().parse_args(argv)
            return COMMANDS[args.command].run(args)
        except KeyboardInterrupt:
            complain("interrupted; files that were not finished are removed")
            return INTERRUPTED
        except BrokenPipeError:  # who reads our output has left
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dse-hf", description="Denoises audio and separates its sources.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"dse-hf {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.HELP, allow_abbrev=False)
        subparser.set_defaults(usage_error=subparser.error)
        if hasattr(command, "add_arguments"):
            command.add_arguments(subparser)
    return parser


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Ends by exception when the process is told to terminate, so that unfinished files are removed."""

    def terminate(number, frame):
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    # Left alone where they are ignored (nohup) or handled, and outside the main thread, where they cannot be.
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
