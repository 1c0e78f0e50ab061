#!/usr/bin/env python3
"""Chooses, on the validation split, how much of the weights that a stage started from its result keeps.

    python model_cards/waveunet-speech-16khz/choose.py corpus waveunet-speech-16khz runs/waveunet-speech-16khz-cleaner

measures the stage's weights, the start's and their means (of several runs from one start, also the runs by
themselves; one that is given twice counts twice), and ends with the command that embeds the best of them: by
SI-SDR + 3 PESQ + 50 ESTOI + 5 DNSMOS, in which 1 dB, 0.33 of PESQ, 0.02 of ESTOI and 0.2 of DNSMOS are worth the same.
Needs the extra `dnsmos`.
"""

import shutil
import sys
from functools import partial
from pathlib import Path

from evaluate import held_out_clips

from dse_hf.evaluation.systems import load_system
from dse_hf.evaluation.tables import markdown_table


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from embed import save_mean  # noqa: E402
from measuring import Parser, measure  # noqa: E402


WORTH = {"si_sdr": 1, "pesq": 3, "estoi": 50, "dnsmos": 5}
MIXES = ((1, 0), (4, 1), (2, 1), (1, 1), (1, 2), (0, 1))  # how often the start and every run of the stage count


def best(models: dict) -> str:
    """The name whose mean scores are worth most."""
    return max(models, key=lambda name: sum(worth * models[name]["mean"][metric] for metric, worth in WORTH.items()))


def main() -> int:
    parser = Parser(__doc__, writes=False)
    parser.add_argument("start", help="what the stage started from: embedded name, folder or Hub id")
    parser.add_argument("runs", nargs="+", help="folders that the stage left")
    parser.add_argument("--per-snr", type=int, default=15, help="clips for each SNR")
    parser.add_evaluation("evaluation/choice")
    parser.set_defaults(split="validation")
    arguments = parser.parse_args()
    mixes = {}
    different = list(dict.fromkeys(arguments.runs))
    alone = [(0, *(int(run == other) for other in arguments.runs)) for run in different] if len(different) > 1 else []
    for counts in [(start, *[each] * len(arguments.runs)) for start, each in MIXES] + alone:
        runs = [run for run, times in zip((arguments.start, *arguments.runs), counts) for _ in range(times)]
        folder = Path(arguments.output, "mixes", "to".join(map(str, counts)))
        save_mean(runs, folder, both_polarities=True)
        mixes[str(folder)] = runs
    clips = partial(held_out_clips, arguments.corpus, arguments.per_snr, arguments.split)
    try:
        results = measure([load_system(folder) for folder in mixes], clips, arguments)
    finally:
        shutil.rmtree(Path(arguments.output, "mixes"))
    print(markdown_table(results))
    runs = mixes[best({folder: results["models"][folder] for folder in mixes})]
    print(f"\npython model_cards/embed.py {HERE.name} {' '.join(runs)} --both-polarities")
    return 0


if __name__ == "__main__":
    sys.exit(main())
