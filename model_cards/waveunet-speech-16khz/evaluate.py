#!/usr/bin/env python3
"""Measures the model, the unprocessed input and what a user would pick instead on the held-out mixtures.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus

prints the table of the README, and leaves tables, pictures and per-clip scores in the folder `evaluation`. With
`--write`, `results.json`, the tables of README and card and the card's picture are replaced.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus --first 25 --per-snr 50 --output evaluation/further

does the same with other mixtures of the same voices and noises: those that come after the 25 of each SNR that the
stages of the training were judged by. They go to `further.json`.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mixtures import SECONDS, SNRS, held_out_mixtures

from dse_hf.data import Clip
from dse_hf.evaluation import RESULTS
from dse_hf.evaluation.report import write_report
from dse_hf.evaluation.systems import INPUT, PEERS, load_system
from dse_hf.evaluation.tables import difference_table, markdown_table


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, measure, tell_whether_known  # noqa: E402


FURTHER = "further.json"  # what has been measured on clips after the first ones
PICTURE = "improvement.png"
TEXTS = (HERE.parent.parent / "README.md", HERE / "README.md")
TABLE = re.compile(
    r"(?P<start><!-- table: \S*?(?P<file>\w+\.json)(?: by (?P<by>\w+)| (?P<differences>differences))? -->\n)"
    r".*?(?P<end><!-- /table -->)",
    re.DOTALL,
)


class Remembering:
    """Clips to draw from; knows of which speaker, or kind of noise, the last ones were."""

    def __init__(self, clips):
        self.clips, self.last = clips, None
        self.channels = clips.channels

    def fill(self, length, rng, **options):
        self.last, samples = self.clips.draw(length, rng, **options)
        return samples


def held_out_clips(corpus: str, per_snr: int, split: str, first: int = 0) -> Iterator[Clip]:
    """The mixtures of `mixtures.py` from the `first` one of each SNR on, and who and what is in them."""
    for snr, mixtures in held_out_mixtures(corpus, first + per_snr, split).items():
        mixtures.speech, mixtures.noise = Remembering(mixtures.speech), Remembering(mixtures.noise)
        for index in range(first, first + per_snr):
            example = mixtures[index]
            attributes = {"snr": snr, "speaker": mixtures.speech.last, "kind": mixtures.noise.last}
            yield Clip(f"{snr} dB, {index}", example["input_values"], example["labels"], attributes)


def with_tables(text: str, results: dict, file: str = RESULTS) -> str:
    """The text with the tables of a file that its marks ask for: of all clips, `by` something, or of `differences`."""

    def filled(found: re.Match) -> str:
        if found["file"] != file:
            return found[0]
        table = difference_table(results) if found["differences"] else markdown_table(results, by=found["by"])
        return f"{found['start']}{table}\n{found['end']}"

    return TABLE.sub(filled, text)


def write(results: dict, folder: Path, first: int = 0) -> None:
    """Replaces what was measured on the first clips, or on those after them."""
    file = FURTHER if first else RESULTS
    shutil.copyfile(folder / RESULTS, HERE / file)
    if not first:
        shutil.copyfile(folder / PICTURE, HERE / PICTURE)
    for path in TEXTS:
        path.write_text(with_tables(path.read_text(encoding="utf-8"), results, file), encoding="utf-8")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR")
    parser.add_argument("--first", type=int, default=0, help="number of the first clip of each SNR")
    parser.add_evaluation("evaluation")
    arguments = parser.parse_args()
    clips = partial(held_out_clips, arguments.corpus, arguments.per_snr, arguments.split, arguments.first)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split of corpus.py"
    systems = [load_system(system) for system in (INPUT, *PEERS, arguments.model)]
    description = {"name": name, "split": arguments.split, "snrs": SNRS, "first": arguments.first}
    results = measure(systems, clips, arguments, description=description)
    write_report(results, systems, clips, arguments.output)
    print(markdown_table(results))
    tell_whether_known(results, HERE / (FURTHER if arguments.first else RESULTS))
    if arguments.write:
        write(results, Path(arguments.output), arguments.first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
