"""Shared by the scripts that measure the embedded models: their options, and a run with a progress bar."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm
from transformers.utils import logging

from dse_hf.evaluation import RESULTS, evaluate
from dse_hf.evaluation.tables import difference_table, markdown_table


CORPUS = Path(__file__).resolve().parent / "waveunet-speech-16khz" / "corpus.py"
TABLE = re.compile(
    r"(?P<start><!-- table: \S*?(?P<file>\w+\.json)(?: by (?P<by>\w+)| (?P<differences>differences))? -->\n)"
    r".*?(?P<end><!-- /table -->)",
    re.DOTALL,
)


class Parser(argparse.ArgumentParser):
    """The options of a script. The first one is the corpus, a folder that the script `corpus` made.

    `mark` is a file that every such folder has.
    """

    def __init__(self, description: str, writes: bool = True, corpus: Path = CORPUS, mark: str = "corpus.json"):
        self.corpus, self.mark = corpus, mark
        super().__init__(
            description=description.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        self.add_argument("corpus", help=f"folder that {corpus.parent.name}/{corpus.name} made")
        self.add_argument("--split", default="test", help="split of the corpus")
        if writes:
            self.add_argument("--write", action="store_true", help="replace the results and the tables of the cards")

    def add_evaluation(self, output: str) -> None:
        self.add_argument("--output", default=output, help="folder that the results are written into")
        self.add_argument("--jobs", type=int, default=2, help="number of processes")

    def parse_args(self, *args, **kwargs) -> argparse.Namespace:
        """Parses the options. Ends the script if there is no corpus."""
        arguments = super().parse_args(*args, **kwargs)
        if not Path(arguments.corpus, self.mark).exists():
            sys.exit(f"{arguments.corpus}: no corpus; make it with: python {self.corpus} {arguments.corpus}")
        return arguments


def measure(systems: list, clips: Callable, arguments: argparse.Namespace, **options) -> dict:
    """Calls `evaluate` with the options of `Parser.add_evaluation`, and shows a progress bar."""
    logging.disable_progress_bar()
    with tqdm(total=1, desc="clips x models", disable=None) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return evaluate(systems, clips, arguments.output, jobs=arguments.jobs, progress=move, **options)


def with_tables(text: str, results: dict, file: str = RESULTS) -> str:
    """Returns the text with the tables of `file` filled in: of all clips, `by` a label, or of `differences`."""

    def filled(found: re.Match) -> str:
        if found["file"] != file:
            return found[0]
        table = difference_table(results) if found["differences"] else markdown_table(results, by=found["by"])
        return f"{found['start']}{table}\n{found['end']}"

    return TABLE.sub(filled, text)


def with_block(text: str, file: str, table: str) -> str:
    """Returns the text with the table of `file` replaced by a given one."""

    def filled(found: re.Match) -> str:
        return f"{found['start']}{table}\n{found['end']}" if found["file"] == file else found[0]

    return TABLE.sub(filled, text)


def tell_whether_known(results: dict, file: Path) -> None:
    """Prints whether the mixtures are the same as those of the card's file, to the bit."""
    known = json.loads(file.read_text(encoding="utf-8"))["dataset"]["fingerprint"] if file.exists() else None
    same = "the same as" if results["dataset"]["fingerprint"] == known else "not the same as"
    print(f"\nThe mixtures are {same} those of {file.parent.name}/{file.name}, to the bit.")
