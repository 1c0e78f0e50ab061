#!/usr/bin/env python3
"""Measures the model and other denoisers at 48 kHz on held-out mixtures of full-band speech, beside the input.

    python model_cards/waveunet-speech-48khz/evaluate.py CORPUS

prints the table of the card, and writes tables, pictures and the scores of each clip into the folder
`evaluation-48khz`. `--write` replaces `results.json`, the tables of the card and its picture. The corpus has audio at
48 kHz, with a `metadata.csv` in each folder. Its column `bandwidth` says up to which frequency in Hz a clip of speech
has content.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from held_out import DEFAULT, MARK, RATE, SECONDS, SNRS, held_out_clips

from dse_hf.evaluation import RESULTS
from dse_hf.evaluation.report import write_report
from dse_hf.evaluation.systems import INPUT, PEERS, load_system
from dse_hf.evaluation.tables import markdown_table


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, measure, tell_whether_known, with_tables  # noqa: E402


PICTURE = "improvement.png"


def write(results: dict, folder: Path) -> None:
    """Replaces the results and the picture, and the tables of the card if there is one yet."""
    for name in (RESULTS, PICTURE):
        shutil.copyfile(folder / name, HERE / name)
    card = HERE / "README.md"
    if card.exists():
        card.write_text(with_tables(card.read_text(encoding="utf-8"), results), encoding="utf-8")


def main() -> int:
    parser = Parser(__doc__, corpus=HERE / "corpus.py", mark=MARK)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR")
    parser.add_argument("--first", type=int, default=0, help="number of the first clip of each SNR")
    parser.add_evaluation("evaluation-48khz")
    arguments = parser.parse_args()
    clips = partial(held_out_clips, arguments.corpus, arguments.per_snr, arguments.split, arguments.first)
    name = f"mixtures of {SECONDS:g} s of the {arguments.split} split of corpus.py, full-band speech"
    names = dict.fromkeys((INPUT, *PEERS, DEFAULT, arguments.model))
    try:
        systems = [load_system(system) for system in names]
    except ValueError as error:
        sys.exit(f"evaluate.py: {error}")
    description = {"name": name, "split": arguments.split, "snrs": SNRS, "first": arguments.first}
    results = measure(systems, clips, arguments, sampling_rate=RATE, description=description)
    write_report(results, systems, clips, arguments.output)
    print(markdown_table(results))
    tell_whether_known(results, HERE / RESULTS)
    if arguments.write:
        write(results, Path(arguments.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
