"""`dse-hf separate`: its options and its output. The work is done in `dse_hf.separate`."""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator

from ..audio.formats import FORMATS, writable_formats
from ..errors import describe_os_error, one_line
from ..loading import DEFAULT_MODEL, DTYPES
from .console import FAILURE, complain, quiet_libraries


HELP = "denoise audio files, or separate their sources"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = [f"{entry.title} (sound only)" if entry.is_video else entry.title for entry in FORMATS.values()]
    parser.description = f"Denoises audio or separates its sources. Reads {', '.join(formats)}, and rarer formats."
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="audio or video file, or - to read stdin and write wav to stdout")
    add("-o", "--output", metavar="DIR", help="folder for the results (default: the folder of each file)")
    add("--model", default=DEFAULT_MODEL, help="name of an embedded model, folder, or Hub id (default: %(default)s)")
    add("--device", default="auto", help="such as cpu, cuda or cuda:1 (default: %(default)s)")
    add("--dtype", default="auto", choices=DTYPES, help="data type of the computation (default: %(default)s)")
    add("--fast", action="store_true", help="half the time, slightly lower quality, if the model runs twice per sound")
    add("--sources", type=_comma_list, help="sources to write, separated by commas (default: all)")
    add("--format", default="wav", choices=writable_formats(), help="format of the results (default: %(default)s)")
    add(
        "--background-db",
        type=float,
        default=-math.inf,
        metavar="DB",
        help="how much of the background stays in the first source, in dB, such as -12 (default: nothing)",
    )
    add("--overwrite", action="store_true", help="replace existing files")
    add("--json", action="store_true", help="print one JSON object per file")
    add("--quiet", action="store_true", help="print only failures")


def _comma_list(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: give names separated by commas")
    return names


def run(args: argparse.Namespace) -> int:
    piped = "-" in args.files
    if piped and (len(args.files) > 1 or args.output or args.json or args.format != "wav"):
        args.usage_error("- does not go with another FILE, --output, --json or --format")
    if piped and None in (sys.stdin, sys.stdout):
        complain("-: standard input or output is closed; use dse-hf separate - < noisy.wav > clean.wav")
        return FAILURE
    if piped and sys.stdout.isatty():
        args.usage_error("- writes wav to standard output: redirect it to a file (> clean.wav)")
    if not args.background_db <= 0:
        args.usage_error(f"--background-db {args.background_db:g}: give 0 or less, such as -12")
    report = _Report(args)
    files = args.files if piped else _existing_files(args.files, report)
    if not files:
        return FAILURE
    from ..separate import check_sources

    model = _load_model(args, report)
    try:
        args.sources = check_sources(model.config.sources, args.sources)
    except ValueError as error:
        args.usage_error(f"--sources: {error}")
    if piped:
        with report.catching("standard input"):
            _separate_pipe(model, args, report)
    else:
        _separate_files(model, files, args, report)
    return FAILURE if report.failed else 0


def _existing_files(files: list[str], report: "_Report") -> list[str]:
    """Returns the files that exist, each once. The others are reported before a model is loaded."""
    existing: dict[str, str] = {}
    for file in files:
        identity = os.path.realpath(file)
        with report.catching(file):
            os.stat(file)  # raises an error if there is no such file
            if os.path.isdir(file):
                raise IsADirectoryError
            if identity in existing:
                raise ValueError("given twice; leave one out")
            existing[identity] = file
    return list(existing.values())


def _load_model(args: argparse.Namespace, report: "_Report"):
    from ..loading import find_model, load_model
    from ..processor import computes_bfloat16_quickly

    with quiet_libraries():
        source = find_model(args.model)
        model = load_model(source, device=args.device, dtype=args.dtype)
    report.loaded(source)
    if args.dtype == "bfloat16" and model.device.type == "cpu" and not computes_bfloat16_quickly():
        complain("--dtype bfloat16: this processor has no instructions for it; float32 is faster")
    if args.fast and not getattr(model.config, "average_polarity_flip", False):
        complain(f"--fast changes nothing: model {args.model!r} runs once per sound")
    elif args.fast:
        model.config.average_polarity_flip = False
    return model


def _separate_files(model, files: list[str], args: argparse.Namespace, report: "_Report") -> None:
    from ..separate import output_paths, separate_file

    taken = {os.path.realpath(file): f"the input {file}" for file in files}
    for file in files:
        with report.catching(file):
            targets = output_paths(file, args.output, args.sources, args.format).values()
            for target in targets:
                other = taken.get(os.path.realpath(target))
                if other is not None:
                    raise ValueError(f"its result {target} would replace {other}; give another folder (-o)")
            with report.progress(file) as progress:
                result = separate_file(
                    model,
                    file,
                    args.output,
                    sources=args.sources,
                    file_format=args.format,
                    overwrite=args.overwrite,
                    background_db=args.background_db,
                    progress=progress,
                )
            taken.update((os.path.realpath(target), f"the result of {file}") for target in targets)
            report.done(result)


def _separate_pipe(model, args: argparse.Namespace, report: "_Report") -> None:
    from ..separate import separate_file

    source = args.sources[0]
    with tempfile.TemporaryDirectory() as folder:
        with report.progress("standard input") as progress:
            result = separate_file(
                model,
                sys.stdin.buffer,
                folder,
                sources=[source],
                background_db=args.background_db,
                progress=progress,
            )
        with open(result.outputs[source], "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 2**20)
        sys.stdout.buffer.flush()
    result.outputs[source] = "standard output"
    report.done(result, sys.stderr)


class _Report:
    """Prints the results of the files: a progress bar, then two lines, a JSON object, or one line for a failure."""

    def __init__(self, args: argparse.Namespace):
        self.json, self.quiet, self.failed = args.json, args.quiet, False
        self.piped = "-" in args.files
        self.model = ""

    @contextlib.contextmanager
    def catching(self, name: str) -> Generator[None]:
        """Reports the failure of a file, so that the other files are still processed."""
        try:
            yield
        except BrokenPipeError:
            raise
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            message = describe_os_error(error) if isinstance(error, OSError) else str(error)
            message = one_line(message or "out of memory")
            if isinstance(error, (MemoryError, RuntimeError)):
                if "memory" not in message:
                    raise  # our own mistake, which a traceback helps to find
                message = f"{one_line(message, most=100)}; free some memory, or give --device cpu"
            if not message.startswith(f"{one_line(name)}: "):
                message = f"{name}: {message}"
            self.failed = True
            complain(message)
            if self.json:
                print(json.dumps({"input": name, "error": message}), flush=True)

    @contextlib.contextmanager
    def progress(self, name: str) -> Generator[Callable[[float, float | None], None] | None]:
        """Yields a `progress` function for `separate_file` that shows a progress bar, if stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from tqdm import tqdm

        with tqdm(desc=os.path.basename(name), total=1, leave=False, file=sys.stderr) as bar:
            started = time.monotonic()

            def move(done: float, total: float | None) -> None:
                counts = f"{done:.0f} of {total:.0f} s" if total else f"{done:.0f} s"
                speed = done / max(time.monotonic() - started, 1e-9)
                bar.bar_format = f"{{desc}}: {{percentage:3.0f}}% |{{bar}}| {counts}, {speed:.1f}x real time"
                bar.n = done / total if total else 0
                bar.refresh()

            yield move

    def loaded(self, model) -> None:
        """Prints which model was loaded."""
        self.model = str(model)
        if not (self.json or self.quiet or self.piped):
            print(self.model, flush=True)

    def done(self, result, stream=None) -> None:
        if result.silent:
            complain(f"{result.input}: is silent, and so are its results; check the recording")
        if result.clipped:
            complain(
                f"{result.input}: {result.clipped} samples of the results are above full scale and were clipped; "
                "lower the level of the input, or keep floats (--format wav with a file of floats)"
            )
        if self.json:
            levels = {name: level if math.isfinite(level) else None for name, level in result.levels.items()}
            print(json.dumps({**dataclasses.asdict(result), "levels": levels, "model": self.model}), flush=True)
        elif not self.quiet:
            channels = "1 channel" if result.channels == 1 else f"{result.channels} channels"
            speed = result.seconds / max(result.elapsed, 1e-9)
            outputs = [f"{path} ({result.levels[name]:.1f} dBFS)" for name, path in result.outputs.items()]
            print(
                f"{result.input}: {result.seconds:.1f} s of {channels} at {result.sampling_rate} Hz "
                f"in {result.elapsed:.1f} s, {speed:.1f}x real time\n  {', '.join(outputs)}",
                file=stream,
                flush=True,
            )
