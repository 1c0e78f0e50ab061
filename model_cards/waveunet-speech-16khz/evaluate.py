#!/usr/bin/env python3
"""Measures the model, the unprocessed input and what a user would pick instead on the held-out mixtures.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus

prints the table of the README, and leaves tables, pictures and per-clip scores in the folder `evaluation`. With
`--write`, `results.json`, the tables of README and card and the card's picture are replaced.
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
from dse_hf.evaluation_peers import INPUT, PEERS, load_system
from dse_hf.evaluation_report import markdown_table, write_report


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, measure, tell_whether_known  # noqa: E402


PICTURE = "improvement.png"
TEXTS = (HERE.parent.parent / "README.md", HERE / "README.md")
TABLE = re.compile(r"(<!-- table: \S*results\.json(?: by (\w+))? -->\n).*?(<!-- /table -->)", re.DOTALL)


class Remembering:
    """Clips to draw from; knows of which speaker, or kind of noise, the last ones were."""

    def __init__(self, clips):
        self.clips, self.last = clips, None
        self.channels = clips.channels

    def fill(self, length, rng, **options):
        self.last, samples = self.clips.draw(length, rng, **options)
        return samples


def held_out_clips(corpus: str, per_snr: int, split: str) -> Iterator[Clip]:
    """The mixtures of `mixtures.py`, and who and what is in them."""
    for snr, mixtures in held_out_mixtures(corpus, per_snr, split).items():
        mixtures.speech, mixtures.noise = Remembering(mixtures.speech), Remembering(mixtures.noise)
        for index in range(per_snr):
            example = mixtures[index]
            attributes = {"snr": snr, "speaker": mixtures.speech.last, "kind": mixtures.noise.last}
            yield Clip(f"{snr} dB, {index}", example["input_values"], example["labels"], attributes)


def with_tables(text: str, results: dict) -> str:
    """The text with the tables that its marks ask for: of all clips, or `by` something."""
    return TABLE.sub(lambda found: f"{found[1]}{markdown_table(results, by=found[2])}\n{found[3]}", text)


def write(results: dict, folder: Path) -> None:
    for name in (RESULTS, PICTURE):
        shutil.copyfile(folder / name, HERE / name)
    for path in TEXTS:
        path.write_text(with_tables(path.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR")
    parser.add_evaluation("evaluation", jobs=2)
    arguments = parser.parse_args()
    clips = partial(held_out_clips, arguments.corpus, arguments.per_snr, arguments.split)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split of corpus.py"
    systems = [load_system(system) for system in (INPUT, *PEERS, arguments.model)]
    description = {"name": name, "split": arguments.split, "snrs": SNRS}
    results = measure(systems, clips, arguments, description=description)
    write_report(results, systems, clips, arguments.output)
    print(markdown_table(results))
    tell_whether_known(results, HERE)
    if arguments.write:
        write(results, Path(arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
