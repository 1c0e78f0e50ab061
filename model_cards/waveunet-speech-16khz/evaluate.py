#!/usr/bin/env python3
"""Measures the model, the unprocessed input and what a user would pick instead on the held-out mixtures.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus

prints the table of the README, and leaves tables, pictures and per-clip scores in the folder `evaluation`. With
`--write`, `results.json`, the tables of README and card and the card's picture are replaced.
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mixtures import SECONDS, SNRS, held_out_mixtures
from tqdm import tqdm
from transformers.utils import logging

from dse_hf.data import Clip
from dse_hf.evaluation import RESULTS, evaluate
from dse_hf.evaluation_peers import INPUT, PEERS, load_system
from dse_hf.evaluation_report import markdown_table, write_report


HERE = Path(__file__).resolve().parent
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that corpus.py made")
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id (default: %(default)s)")
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR (default: %(default)s)")
    parser.add_argument("--split", default="test", help="of the corpus (default: %(default)s)")
    parser.add_argument("--output", default="evaluation", help="folder of the results (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="replace the results, tables and picture of the card")
    arguments = parser.parse_args()
    if not Path(arguments.corpus, "corpus.json").exists():
        script = Path(__file__).parent / "corpus.py"
        print(f"{arguments.corpus}: no corpus; make it with: python {script} {arguments.corpus}", file=sys.stderr)
        return 1
    clips = partial(held_out_clips, arguments.corpus, arguments.per_snr, arguments.split)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split of corpus.py"
    with tqdm(total=1, desc="clips x models", disable=None) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        logging.disable_progress_bar()
        systems = [load_system(system) for system in (INPUT, *PEERS, arguments.model)]
        description = {"name": name, "split": arguments.split, "snrs": SNRS}
        results = evaluate(
            systems, clips, arguments.output, description=description, jobs=arguments.jobs, progress=move
        )
    write_report(results, systems, clips, arguments.output)
    same = results["dataset"]["fingerprint"] == json.loads((HERE / RESULTS).read_text())["dataset"]["fingerprint"]
    if arguments.write:
        write(results, Path(arguments.output))
    print(markdown_table(results))
    print(f"\nThe mixtures are {'those' if same else 'not those'} of {HERE.name}/{RESULTS}, to the bit.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
