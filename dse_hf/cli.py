"""The command line `dse-hf`. Whatever takes time to import is imported by the command that needs it."""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import __version__
from .cli_app import add_app_arguments, app
from .cli_evaluate import add_evaluate_arguments, evaluate
from .cli_export import add_export_arguments, export
from .cli_publish import add_publish_arguments, publish
from .cli_separate import FAILURE, add_separate_arguments, complain, separate


INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class Command:
    """A subcommand: its line in `--help`, what runs it and gives the exit status, what adds its arguments.

    Without the last, `run` gets the rest of the command line as it is.
    """

    help: str
    run: Callable
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None


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
            if command is not None and command.add_arguments is None:
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
        subparser = subparsers.add_parser(name, help=command.help, allow_abbrev=False)
        subparser.set_defaults(usage_error=subparser.error)
        if command.add_arguments is not None:
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


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="state dict of a libdse network (.pth)")
    parser.add_argument("output", metavar="OUT", help="folder of the model to make")
    parser.add_argument("--sampling-rate", type=int, help="of its audio, in Hz (default: libdse's)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder, if it is a model")


def _convert(args: argparse.Namespace) -> int:
    from .conversion import convert_checkpoint

    try:
        convert_checkpoint(args.checkpoint, args.output, sampling_rate=args.sampling_rate, overwrite=args.overwrite)
    except (ValueError, OSError) as error:
        complain(error)
        return FAILURE
    print(f"{args.output}: a model for dse-hf separate --model {args.output}")
    return 0


def _train(argv: list[str]) -> int:
    try:
        from .training.run import main as train
    except ImportError as error:
        complain(f"train: {error}; run: pip install 'dse-hf[train]'")
        return FAILURE
    return train(argv)


COMMANDS = {
    "separate": Command("denoise audio files, or separate their sources", separate, add_separate_arguments),
    "train": Command("train a model by a recipe (dse-hf train RECIPE; --help for its options)", _train),
    "evaluate": Command("measure models side by side on a dataset", evaluate, add_evaluate_arguments),
    "publish": Command("push a model, or a Space, to the Hub", publish, add_publish_arguments),
    "convert": Command("make a model of a libdse checkpoint", _convert, _add_convert_arguments),
    "export": Command("write a model as an ONNX file", export, add_export_arguments),
    "app": Command("open the app in the browser", app, add_app_arguments),
}
