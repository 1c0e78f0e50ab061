"""`dse-hf evaluate`: the command line of the package `evaluation`."""

import argparse
import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from functools import partial

from ..evaluation.peers import known_systems
from ..evaluation.processes import start_imports
from .console import FAILURE, INTERRUPTED, complain, quiet_libraries


HELP = "measure models side by side on a dataset"
_DATASETS = ["dataset", "speech_dataset", "noise_dataset"]  # options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Scores models on a dataset of mixtures and their sources, or on mixtures that it makes of speech and noise. "
        "Writes results.json, table.md and pictures. Run again, it continues where it stopped."
    )
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL",
        help=f"name of an embedded model, folder or Hub id; or one of {', '.join(known_systems())} (`input` is the "
        "mixture itself, the others are denoisers of other projects)",
    )
    repeated = {"action": "append", "default": [], "metavar": "DATASET"}
    add("--dataset", **repeated, help="Hub id or folder of pairs (noisy, clean) or stems; may be repeated")
    add("--speech_dataset", "--speech-dataset", **repeated, help="Hub id or folder of clean speech, to mix with noise")
    add("--noise_dataset", "--noise-dataset", **repeated, help="Hub id or folder of the noise")
    add("--split", default="test", help="split of the datasets (default: %(default)s)")
    add("--snrs", type=_comma_floats, help="signal-to-noise ratios of the mixtures in dB, as in --snrs=-5,0,5")
    add("--limit", type=_positive, help="largest number of clips (default: all)")
    add(
        "--sampling_rate",
        "--sampling-rate",
        type=_positive,
        default=16000,
        help="sampling rate in Hz at which clips are scored (default: %(default)s)",
    )
    add(
        "--sources",
        type=_comma_names,
        help="names of the sources, as in speech,noise (default: those of the first model)",
    )
    add("-o", "--output", metavar="DIR", default="evaluation", help="folder of the results (default: %(default)s)")
    add("--jobs", type=_positive, default=_processors(), help="number of processes (default: %(default)s)")
    add("--device", default="auto", help="device of the models, such as cpu or cuda (default: %(default)s)")
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
    from ..evaluation.metrics import METRICS

    mixed = [args.speech_dataset, args.noise_dataset]
    if bool(args.dataset) == any(mixed) or (any(mixed) and not all(mixed)):
        args.usage_error("give --dataset, or both --speech_dataset and --noise_dataset")
    scoring = [package for metric in METRICS.values() if not metric.optional for package in metric.packages]
    needed = dict.fromkeys(["datasets", *scoring, "matplotlib"])  # the extra `eval`
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        complain(f"evaluate: needs {', '.join(missing)}; run: pip install 'dse-hf[eval]'")
        return FAILURE
    try:
        _evaluate(args)
    except KeyboardInterrupt:
        complain("interrupted; run the same command again to continue")
        return INTERRUPTED
    except MemoryError as error:
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
        # As validation datasets too: only these may name a split of their own.
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
    """What the results tell of the dataset: its names, without their parent folders, and the options."""
    names = [name for option in _DATASETS for name in getattr(args, option)]
    title = " + ".join(os.path.basename(os.path.abspath(name)) if os.path.isdir(name) else name for name in names)
    return {"name": title, "split": args.split, "snrs": args.snrs, "limit": args.limit}


@contextlib.contextmanager
def _progress_bar(quiet: bool) -> Generator[Callable[[int, int], None] | None]:
    """Yields the argument `progress` of `evaluate`: it moves a bar if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc="clips x models", leave=False, file=sys.stderr) as bar:

        def move(done: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = bar.n = done - 1  # scores of an earlier run do not count for the speed
            bar.update(done - bar.n)

        yield move
