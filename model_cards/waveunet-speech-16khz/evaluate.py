#!/usr/bin/env python3
"""Measures the model and other denoisers on the held-out mixtures, beside the input as it is.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus

prints the table of the README, and writes tables, pictures and the scores of each clip into the folder `evaluation`.
`--write` replaces `results.json`, the tables of the README and of the card, and the picture of the card.

    python model_cards/waveunet-speech-16khz/evaluate.py corpus --first 25 --per-snr 50 --output evaluation/further

does the same with other mixtures of the same voices and noises: the next 50 of each SNR, after the 25 whose scores
guided the training. `--write` then replaces `further.json`.
"""

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mixtures import PEERS, SECONDS, SNRS, held_out_mixtures

from dse_hf.data import Clip
from dse_hf.evaluation import RESULTS
from dse_hf.evaluation.report import write_report
from dse_hf.evaluation.systems import INPUT, load_system
from dse_hf.evaluation.tables import markdown_table


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, measure, tell_whether_known, with_tables  # noqa: E402


FURTHER = "further.json"  # results on the clips after the first ones
PICTURE = "improvement.png"
TEXTS = (HERE.parent.parent / "README.md", HERE / "README.md")


class Remembering:
    """Clips to draw from, which remember the speaker or the kind of noise of the last draw."""

    def __init__(self, clips):
        self.clips, self.last = clips, None
        self.channels = clips.channels

    def fill(self, length, rng, **options):
        self.last, samples = self.clips.draw(length, rng, **options)
        return samples


def held_out_clips(corpus: str, per_snr: int, split: str, first: int = 0) -> Iterator[Clip]:
    """Yields the mixtures of `mixtures.py` from number `first` of each SNR on, with speaker and kind of noise."""
    for snr, mixtures in held_out_mixtures(corpus, first + per_snr, split).items():
        mixtures.speech, mixtures.noise = Remembering(mixtures.speech), Remembering(mixtures.noise)
        for index in range(first, first + per_snr):
            example = mixtures[index]
            attributes = {"snr": snr, "speaker": mixtures.speech.last, "kind": mixtures.noise.last}
            yield Clip(f"{snr} dB, {index}", example["input_values"], example["labels"], attributes)


def write(results: dict, folder: Path, first: int = 0) -> None:
    """Replaces the results and the tables of the first clips, or of the clips after them."""
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
