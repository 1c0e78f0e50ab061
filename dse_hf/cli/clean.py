"""`dse-hf clean`: the command line of the package `cleaning`."""

import argparse
import contextlib
import math
import shlex
import sys
import time
from collections.abc import Callable, Generator

from ..evaluation.processes import start_imports
from ..loading import DEFAULT_MODEL, DTYPES
from .console import complain, quiet_libraries, requiring


HELP = "clean a whole dataset of the Hub or of a folder"
_LINE_SECONDS = 60.0  # between two lines of progress, if stderr is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Cleans the audio of a dataset. Rows, their order and the other columns stay. Run again after an "
        "interruption, it goes on where it stopped."
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="dataset on the Hub (owner/name), or folder of parquet or audio files")
    add(
        "target",
        metavar="TARGET",
        help="dataset on the Hub (owner/name), or a folder (./clean); it is made if it does not exist",
    )
    add("--column", help="column with the audio (default: audio, or the only one)")
    add("--config", action="append", help="configuration to clean; may be repeated (default: all)")
    add("--split", action="append", help="split to clean; may be repeated (default: all)")
    add("--revision", help="branch, tag or commit of SOURCE")
    add("--model", default=DEFAULT_MODEL, help="name of an embedded model, folder, or Hub id (default: %(default)s)")
    add("--keep-original", action="store_true", help="put the cleaned audio in a column of its own, COLUMN_clean")
    add("--background-column", metavar="NAME", help="add a column with what was taken out")
    add(
        "--background-db",
        type=float,
        default=-math.inf,
        metavar="DB",
        help="how much of the background stays in, in dB, such as -20 (default: nothing)",
    )
    add("--scores", action="store_true", help="add columns: change of level, DNSMOS before and after")
    add("--min-dnsmos", type=float, metavar="X", help="drop rows whose cleaned audio scores less; implies --scores")
    add("--strict", action="store_true", help="stop at the first row that cannot be cleaned")
    add("--overwrite", action="store_true", help="replace what TARGET holds")
    add("--private", action="store_true", help="make a new dataset on the Hub private")
    add("--device", default="auto", help="such as cpu, cuda or cuda:1 (default: all GPUs, or the processor)")
    add("--dtype", default="auto", choices=DTYPES, help="data type of the computation (default: %(default)s)")
    add("--processes", type=_positive, help="(default: one for each GPU or each processor)")
    add("--shard-rows", type=_positive, default=1000, help="rows that are done at a time (default: %(default)s)")
    add("--work-dir", metavar="DIR", help="where results wait for their upload (default: a folder in the Hub's cache)")
    add("--engine", default="local", choices=("local", "ray"), help="ray: on a cluster (default: %(default)s)")
    add("--address", help="ray: address of the cluster; without it, one starts on this machine")
    add("--num-actors", type=_positive, help="ray: number of processes with a model (default: all that fit)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="N", help="ray: (default: %(default)g)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="N", help="ray: (default: %(default)g)")
    add("--quiet", action="store_true", help="print failures only")


def _positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 up")


def run(args: argparse.Namespace) -> int:
    if args.engine == "local" and args.processes != 1:
        start_imports("dse_hf.cleaning.worker_preload")
    if args.engine == "local" and (args.address or args.num_actors):
        args.usage_error("--address and --num-actors go with --engine ray")
    with requiring("clean"):
        import datasets  # noqa: F401

        from ..cleaning import CleaningOptions, clean_repository
    names = ("column", "keep_original", "background_column", "background_db", "scores", "min_dnsmos", "strict")
    options = None
    try:
        options = CleaningOptions(**{name: getattr(args, name) for name in names})
    except ValueError as error:
        args.usage_error(f"--{str(error).replace('_', '-', 1)}")
    ray_options = None
    if args.engine == "ray":
        ray_options = {name: getattr(args, name) for name in ("address", "num_actors")}
        ray_options |= {"cpus_per_actor": args.cpus_per_actor, "gpus_per_actor": args.gpus_per_actor}
    with quiet_libraries(), _progress(args.quiet) as progress:
        cleaning = clean_repository(
            args.source,
            args.target,
            args.model,
            options,
            config=args.config,
            split=args.split,
            revision=args.revision,
            device=args.device,
            dtype=args.dtype,
            processes=args.processes,
            engine=args.engine,
            ray_options=ray_options,
            shard_rows=args.shard_rows,
            work_dir=args.work_dir,
            overwrite=args.overwrite,
            private=args.private,
            command=_command(args),
            begun=None if args.quiet else lambda line: print(line, flush=True),
            progress=progress,
        )
    report = cleaning.report
    if report.errors:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(report.errors.items()))
        complain(f"{sum(report.errors.values())} rows could not be cleaned ({reasons}); see the column clean_error")
    if not args.quiet:
        speed = cleaning.done_seconds / max(cleaning.elapsed, 1e-9)
        dropped = f", {len(report.dropped):,} rows dropped (dropped.csv)" if report.dropped else ""
        print(
            f"{report.written:,} rows, {report.seconds / 3600:.2f} h of audio{dropped}\n"
            f"{cleaning.done_rows:,} rows in {cleaning.elapsed:.0f} s now, {speed:.1f}x real time\n  {cleaning.target}"
        )
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command as the card shows it: what the result depends on, and no folders of this machine."""
    words = ["dse-hf", "clean", args.source, args.target]
    words[2:] = [
        word if word.count("/") == 1 and word[0] not in "./~" else word.rpartition("/")[2] for word in words[2:]
    ]
    for name in ("column", "config", "split", "revision", "background_column", "min_dnsmos"):
        values = getattr(args, name)
        for value in values if isinstance(values, list) else [values] if values is not None else []:
            words += [f"--{name.replace('_', '-')}", str(value)]
    words += ["--model", args.model.rstrip("/").rpartition("/")[2] if args.model[0] in "./~" else args.model]
    if args.background_db > -math.inf:
        words.append(f"--background-db={args.background_db:g}")
    words += [f"--{name.replace('_', '-')}" for name in ("keep_original", "scores") if getattr(args, name)]
    return shlex.join(words)


@contextlib.contextmanager
def _progress(quiet: bool) -> Generator[Callable | None]:
    """Yields the argument `progress`: a bar if stderr is a terminal, otherwise a line every minute."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        last = time.monotonic()

        def tell(state) -> None:
            nonlocal last
            if time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                sys.stderr.write(f"{state.rows:,} of {state.total_rows:,} rows, {_speed(state)}\n")

        yield tell
        return
    from tqdm import tqdm

    with tqdm(leave=False, file=sys.stderr, bar_format="{percentage:3.0f}% |{bar}| {desc}") as bar:

        def move(state) -> None:
            bar.total, bar.n = state.total_rows, max(state.rows, 0)
            bar.set_description_str(f"{state.rows:,}/{state.total_rows:,} rows, {_speed(state)}")

        yield move


def _speed(state) -> str:
    left = state.remaining
    time_left = "" if left is None else f", {left // 3600:.0f}:{left // 60 % 60:02.0f}:{left % 60:02.0f} left"
    return f"{state.seconds / 3600:.2f} h of audio, {state.speed:.1f}x real time{time_left}"
