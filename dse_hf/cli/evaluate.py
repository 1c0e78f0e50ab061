"""`dse-hf evaluate`: what the user gives and what the user sees. The work is done in `evaluation.py`."""

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial

from ..evaluation.processes import start_imports
from .console import FAILURE, INTERRUPTED, complain, quiet_libraries


HELP = "measure models side by side on a dataset"
_DATASETS = ["dataset", "speech_dataset", "noise_dataset"]  # options
_PACKAGES = ["datasets", "torchmetrics", "pesq", "pystoi", "matplotlib"]  # the extra `eval`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Scores models on a dataset of mixtures with their sources, or on speech and noise that it mixes, and writes "
        "results.json, table.md and pictures. Run again, it goes on from what is scored."
    )
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL",
        help="embedded name, folder or Hub id; `input` for the mixture itself; noisereduce, rnnoise, "
        "deepfilternet or dtln",
    )
    repeated = {"action": "append", "default": [], "metavar": "DATASET"}
    add("--dataset", **repeated, help="Hub id or folder of pairs (noisy, clean) or stems; may be given again")
    add("--speech_dataset", "--speech-dataset", **repeated, help="Hub id or folder of clean speech, to mix with noise")
    add("--noise_dataset", "--noise-dataset", **repeated, help="Hub id or folder of that noise")
    add("--split", default="test", help="(default: %(default)s)")
    add("--snrs", type=_comma_floats, help="in dB, of what is mixed, as in --snrs=-5,0,5")
    add("--limit", type=_positive, help="number of clips (default: all)")
    add(
        "--sampling_rate",
        "--sampling-rate",
        type=_positive,
        default=16000,
        help="that scores are taken at, in Hz (default: %(default)s)",
    )
    add("--sources", type=_comma_names, help="names of the references (default: the first model's)")
    add("-o", "--output", metavar="DIR", default="evaluation", help="folder of the results (default: %(default)s)")
    add("--jobs", type=_positive, default=_processors(), help="processes (default: %(default)s)")
    add("--device", default="auto", help="such as cpu or cuda (default: %(default)s)")
    add("--quiet", action="store_true", help="print failures only")


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: give a whole number from 1 up")


def _comma_floats(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give numbers with commas between them") from error


def _comma_names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r}: give different names with commas between them")
    return names


def run(args: argparse.Namespace) -> int:
    mixed = [args.speech_dataset, args.noise_dataset]
    if bool(args.dataset) == any(mixed) or (any(mixed) and not all(mixed)):
        args.usage_error("give --dataset, or both --speech_dataset and --noise_dataset")
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        complain(f"evaluate: needs {', '.join(missing)}; run: pip install 'dse-hf[eval]'")
        return FAILURE
    try:
        _evaluate(args)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from what is scored")
        return INTERRUPTED
    except (ValueError, OSError, MemoryError) as error:
        complain(str(error) or "out of memory; give fewer --jobs")
        return FAILURE
    return 0


def _evaluate(args: argparse.Namespace) -> None:
    if args.jobs > 1:
        start_imports()
    from ..data import DataArguments, evaluation_clips
    from ..evaluation.report import write_report
    from ..evaluation.run import common_channels, common_sources, evaluate
    from ..evaluation.systems import load_system
    from ..evaluation.tables import markdown_table, not_scored

    with quiet_libraries():
        systems = [load_system(name, args.device) for name in args.models]
    sources = args.sources or common_sources(systems)
    data_arguments = DataArguments(
        # Those of validation, too: only there a split of their own counts.
        **{f"{kind}{name}": getattr(args, name) for name in _DATASETS for kind in ("", "validation_")}
    )
    clips = partial(
        evaluation_clips,
        data_arguments,
        args.split,
        sampling_rate=args.sampling_rate,
        sources=sources,
        channels=common_channels(systems),
        limit=args.limit,
        snrs=args.snrs,
    )
    with _progress_bar(args.quiet) as progress:
        results = evaluate(
            systems,
            clips,
            args.output,
            sampling_rate=args.sampling_rate,
            sources=sources,
            description=_description(args),
            jobs=args.jobs,
            progress=progress,
        )
    files = write_report(results, systems, clips, args.output)
    if not args.quiet:
        print(markdown_table(results, statistic="interval"))
        for text in filter(None, (not_scored(results), f"{args.output}: results.json, {', '.join(files)}")):
            print(f"\n{text}")


def _description(args: argparse.Namespace) -> dict:
    """What the results say of the dataset: names, without the folders they are in."""
    names = [name for option in _DATASETS for name in getattr(args, option)]
    title = " + ".join(os.path.basename(os.path.abspath(name)) if os.path.isdir(name) else name for name in names)
    return {"name": title, "split": args.split, "snrs": args.snrs, "limit": args.limit}


@contextlib.contextmanager
def _progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A function for `evaluate` that moves a progress bar, if someone is there to see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc="clips x models", leave=False, file=sys.stderr) as bar:

        def move(done: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = bar.n = done - 1  # those of an earlier run take no time of this one
            bar.update(done - bar.n)

        yield move
