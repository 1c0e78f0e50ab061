"""The command line `dse-hf`. Each command imports what is slow to import when it runs."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from types import ModuleType

from .. import __version__
from . import app, clean, convert, evaluate, export, publish, separate, train
from .console import FAILURE, INTERRUPTED, complain


# By default, threads of PyTorch that wait for each other keep their processors busy. Beside other programs, all of it
# then takes several times as long. The variable is read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A command is a file with `HELP` (its line in `--help`), `add_arguments(parser)` and `run(args)`, which returns the
# exit status. A ValueError or OSError that `run` raises becomes one line on stderr. If a command has no
# `add_arguments`, its `run` gets the rest of the command line unparsed.
COMMANDS: dict[str, ModuleType] = {
    "separate": separate,
    "clean": clean,
    "train": train,
    "evaluate": evaluate,
    "publish": publish,
    "convert": convert,
    "export": export,
    "app": app,
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line `argv`, by default that of the process, and returns the exit status.

    A usage error (2), `--help` and `--version` (0) and a signal to terminate raise SystemExit.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # a file name need not be valid text
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # pyrefly: ignore[missing-attribute]  # suppressed above
    with _terminable():
        try:
            command = COMMANDS.get(argv[0]) if argv else None
            if command is not None and not hasattr(command, "add_arguments"):
                return command.run(argv[1:])
            args = _parser().parse_args(argv)
            return COMMANDS[args.command].run(args)
        except KeyboardInterrupt:
            complain("interrupted; unfinished files were removed")
            return INTERRUPTED
        except BrokenPipeError:  # the program that reads our output has ended
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILURE
        except (ValueError, OSError) as error:
            complain(error)
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
def _terminable() -> Generator[None]:
    """Makes a signal to terminate raise SystemExit, so that unfinished files are removed."""

    def terminate(number, frame):
        raise SystemExit(128 + number)

    numbers = [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    # A signal that is ignored (nohup) or handled already keeps its handler. Only the main thread can set handlers.
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
