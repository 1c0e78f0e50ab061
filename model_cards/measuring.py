"""Shared by the scripts that measure the embedded models: their options, and a run with a progress bar."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm
from transformers.utils import logging

from dse_hf.evaluation import evaluate


CORPUS = Path(__file__).resolve().parent / "waveunet-speech-16khz" / "corpus.py"


class Parser(argparse.ArgumentParser):
    """The options of a script. The first one is the corpus."""

    def __init__(self, description: str, writes: bool = True):
        super().__init__(
            description=description.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        self.add_argument("corpus", help=f"folder that {CORPUS.parent.name}/{CORPUS.name} made")
        self.add_argument("--split", default="test", help="split of the corpus")
        if writes:
            self.add_argument("--write", action="store_true", help="replace the results and the tables of the cards")

    def add_evaluation(self, output: str) -> None:
        self.add_argument("--output", default=output, help="folder that the results are written into")
        self.add_argument("--jobs", type=int, default=2, help="number of processes")

    def parse_args(self, *args, **kwargs) -> argparse.Namespace:
        """Parses the options. Ends the script if there is no corpus."""
        arguments = super().parse_args(*args, **kwargs)
        if not Path(arguments.corpus, "corpus.json").exists():
            sys.exit(f"{arguments.corpus}: no corpus; make it with: python {CORPUS} {arguments.corpus}")
        return arguments


def measure(systems: list, clips: Callable, arguments: argparse.Namespace, **options) -> dict:
    """Calls `evaluate` with the options of `Parser.add_evaluation`, and shows a progress bar."""
    logging.disable_progress_bar()
    with tqdm(total=1, desc="clips x models", disable=None) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return evaluate(systems, clips, arguments.output, jobs=arguments.jobs, progress=move, **options)


def tell_whether_known(results: dict, file: Path) -> None:
    """Prints whether the mixtures are the same as those of the card's file, to the bit."""
    known = json.loads(file.read_text(encoding="utf-8"))["dataset"]["fingerprint"] if file.exists() else None
    same = "the same as" if results["dataset"]["fingerprint"] == known else "not the same as"
    print(f"\nThe mixtures are {same} those of {file.parent.name}/{file.name}, to the bit.")
