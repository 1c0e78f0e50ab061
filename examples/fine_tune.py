# /// script
# requires-python = ">=3.10"
# dependencies = ["dse-hf[train]"]
#
# [tool.uv.sources]
# dse-hf = { path = ".." } # this checkout
# ///
"""Fine-tunes a model on pairs of noisy and clean recordings, and publishes the result.

uv run examples/fine_tune.py org/pairs you/tuned --steps 10000

The dataset is a Hub id or a folder, with the columns `noisy` and `clean`. Other options go to `dse-hf train`.
"""

import argparse
import sys

from dse_hf import publish_model
from dse_hf.training.run import main as train


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help="Hub id or folder of pairs of noisy and clean recordings")
    parser.add_argument("repository", help="name on the Hub for the result, as in you/tuned")
    parser.add_argument("--model", default="waveunet-speech-16khz", help="model to start from (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10_000, help="training steps (default: %(default)s)")
    parser.add_argument("--output", default="tuned", help="folder for the result (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be published, and send nothing")
    args, others = parser.parse_known_args()
    options = {
        "--model": args.model,
        "--dataset": args.dataset,
        "--max_steps": str(args.steps),
        "--output_dir": args.output,
        "--learning_rate": "2e-4",
        "--lr_scheduler_type": "cosine",
    }
    losses = ["--losses", "l1", "multi_resolution_stft:0.5"]
    status = train([*(word for pair in options.items() for word in pair), *losses, *others])
    if status == 0:
        publication = publish_model(args.output, args.repository, dry_run=args.dry_run, progress=print)
        print(publication.url or "\n".join(publication.files))
    return status


if __name__ == "__main__":
    sys.exit(main())
