"""`dse-hf separate`: its options. The work is done in `dse_hf.separate`."""

import argparse
import contextlib
import math
import os
import shutil
import sys
import tempfile
import textwrap

from ..audio.formats import FORMATS, SAME, writable_formats
from ..loading import DEFAULT_MODEL, DTYPES, embedded_models
from .console import FAILURE, complain, quiet_libraries
from .inputs import Input, find_inputs, without_results
from .report import Report


HELP = "denoise audio files, or separate their sources"


EXAMPLES = """examples:
  dse-hf separate interview.wav --sources foreground           only the voice, in interview.foreground.wav
  dse-hf separate recordings -o cleaned                        all recordings in a folder and its folders
  dse-hf separate recordings -o cleaned --skip-existing        goes on where that stopped
  dse-hf separate talk.mp4 --format same --sources foreground  the video with cleaned sound
  dse-hf separate talk.wav --background-db -12                 leaves some of the noise in
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = list(dict.fromkeys(entry.title for entry in FORMATS.values()))
    parser.description = textwrap.fill(
        f"Removes noise from recordings, or separates their sources. Reads {', '.join(formats)}, and rarer formats. "
        "Writes each source to a file of the recording's length, sampling rate and channels. With the default model, "
        "NAME.foreground.wav is the voice, and NAME.background.wav is the noise.",
        79,
    )
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio or video file, folder (with all folders in it), wildcard such as '*.wav', or - to read standard "
        "input and write wav to standard output",
    )
    add("-o", "--output", metavar="DIR", help="folder for the results (default: the folder of each file)")
    add("--sources", type=_comma_list, help="sources to write, separated by commas, such as foreground (default: all)")
    add(
        "--background-db",
        type=float,
        default=-math.inf,
        metavar="DB",
        help="leave the background in the first source, at this level in dB: -20 is a little, -6 is half, 0 is all "
        "(default: nothing)",
    )
    add(
        "--format",
        type=_file_format,
        default="wav",
        metavar="FORMAT",
        help=f"{', '.join(writable_formats())}, or same: the format of each file, and for a video its pictures and "
        "all else (default: %(default)s)",
    )
    add("--track", type=int, metavar="N", help="audio track to separate, from 1 (default: the one players choose)")
    add("--best", action="store_true", help="twice the time, slightly better quality, with the default model")
    add("--fast", action="store_true", help=argparse.SUPPRESS)  # the old name of what is now the default
    add("--overwrite", action="store_true", help="replace existing files")
    add(
        "--skip-existing",
        action="store_true",
        help="leave out files whose results exist, are as long, and are newer, whatever options made them",
    )
    names = ", ".join(embedded_models())
    add("--model", default=DEFAULT_MODEL, help=f"{names}, a folder, or an id on the Hub (default: %(default)s)")
    add("--device", default="auto", help="such as cpu, cuda or cuda:1 (default: %(default)s)")
    add("--dtype", default="auto", choices=DTYPES, help="data type of the computation (default: %(default)s)")
    add("--json", action="store_true", help="print one JSON object per file")
    add("--quiet", action="store_true", help="print only failures")


def _file_format(text: str) -> str:
    if text.lower() in (*writable_formats(), SAME):
        return text.lower()
    raise argparse.ArgumentTypeError(
        f"{text!r}: give {', '.join(writable_formats())}, or same to keep that of a video"
    )


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
    if args.overwrite and args.skip_existing:
        args.usage_error("--overwrite does not go with --skip-existing: give one of them")
    report = Report(args)
    inputs = [] if piped else find_inputs(args.files, args.output, report)
    if not piped and not inputs:
        return FAILURE
    model = _load_model(args, report)
    from ..separate import check_sources

    inputs = without_results(inputs, model.config.sources, report)
    try:
        args.sources = check_sources(model.config.sources, args.sources)
    except ValueError as error:
        args.usage_error(f"--sources: {error}")
    if piped:
        with report.catching("standard input"):
            _separate_pipe(model, args, report)
    else:
        try:
            _separate_files(model, inputs, args, report)
        except KeyboardInterrupt:
            if report.files:
                complain("what is finished stays; the same command with --skip-existing goes on")
            raise
        report.summary()
    return FAILURE if report.failed else 0


def _load_model(args: argparse.Namespace, report: Report):
    from ..loading import find_model, is_hub_id, load_separator, needs_transformers
    from ..processor import computes_bfloat16_quickly

    # The import of libraries that need to be quiet takes longer than to separate a short file.
    with quiet_libraries() if is_hub_id(args.model) else contextlib.nullcontext():
        source = find_model(args.model)
    with quiet_libraries() if needs_transformers(source) else contextlib.nullcontext():
        model = load_separator(source, device=args.device, dtype=args.dtype)
    report.loaded(source)
    if args.dtype == "bfloat16" and model.device.type == "cpu" and not computes_bfloat16_quickly():
        complain("--dtype bfloat16: this processor has no instructions for it; float32 is faster")
    if getattr(model.config, "average_polarity_flip", False):
        model.config.average_polarity_flip = args.best
    elif args.best:
        complain(f"--best changes nothing: model {args.model!r} is not made for it")
    return model


def _separate_files(model, inputs: list[Input], args: argparse.Namespace, report: Report) -> None:
    from ..separate import output_paths, results_are_current, separate_file

    taken = {os.path.realpath(entry.file): f"the input {entry.file}" for entry in inputs}
    with report.progress_over([entry.file for entry in inputs]):
        for entry in inputs:
            with report.catching(entry.file), report.progress(entry.file) as progress:
                targets = output_paths(entry.file, entry.output_dir, args.sources, args.format).values()
                for target in targets:
                    other = taken.get(os.path.realpath(target))
                    if other is not None:
                        raise ValueError(
                            f"its result {target} would replace {other}; separate it into another folder (-o)"
                        )
                taken.update((os.path.realpath(target), f"the result of {entry.file}") for target in targets)
                if args.skip_existing and results_are_current(entry.file, targets, args.track):
                    report.skipped(entry.file, "done before")
                    continue
                result = separate_file(
                    model,
                    entry.file,
                    entry.output_dir,
                    sources=args.sources,
                    file_format=args.format,
                    track=args.track,
                    overwrite=args.overwrite or args.skip_existing,
                    background_db=args.background_db,
                    progress=progress,
                )
                report.done(result)


def _separate_pipe(model, args: argparse.Namespace, report: Report) -> None:
    from ..separate import separate_file

    source = args.sources[0]
    with tempfile.TemporaryDirectory() as folder:
        result = separate_file(
            model, sys.stdin.buffer, folder, sources=[source], track=args.track, background_db=args.background_db
        )
        with open(result.outputs[source], "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 2**20)
        sys.stdout.buffer.flush()
    result.outputs[source] = "standard output"
    report.done(result, sys.stderr)
