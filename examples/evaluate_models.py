# /// script
# requires-python = ">=3.10"
# dependencies = ["dse-hf[eval]"]
#
# [tool.uv.sources]
# dse-hf = { path = ".." } # this checkout
# ///
"""Scores models on pairs of noisy and clean recordings, and prints a table and the clip that each does worst.

uv run examples/evaluate_models.py org/pairs input waveunet-speech-16khz you/tuned
"""

import argparse

from dse_hf.data import DataArguments, evaluation_clips
from dse_hf.evaluation import evaluate, load_system
from dse_hf.evaluation.tables import markdown_table


RATE = 16000
SOURCES = ["foreground", "background"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="Hub id or folder of pairs of noisy and clean recordings")
    parser.add_argument(
        "models", nargs="+", help="embedded names, folders or Hub ids; input is the unprocessed mixture"
    )
    parser.add_argument("--split", default="test", help="split of the dataset (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="number of clips (default: all)")
    parser.add_argument("--output", default="evaluation", help="folder for results.json (default: %(default)s)")
    args = parser.parse_args()
    data = DataArguments(dataset=args.dataset)

    def clips():
        return evaluation_clips(data, args.split, sampling_rate=RATE, sources=SOURCES, limit=args.limit)

    results = evaluate([load_system(name) for name in args.models], clips, args.output, sources=SOURCES)
    print(markdown_table(results))
    for name, entry in results["models"].items():
        worst = min(entry["clips"], key=lambda clip: clip["scores"]["foreground"]["si_sdr_improvement"] or 0)
        print(f"{name} does worst on {worst['name']}")


if __name__ == "__main__":
    main()
