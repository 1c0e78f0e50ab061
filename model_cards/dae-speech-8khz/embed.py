#!/usr/bin/env python3
"""Makes a trained autoencoder an embedded model of its run's name: weights as float16, config, feature extractor.

python model_cards/dae-speech-8khz/embed.py runs/dae-speech-8khz
"""

import json
import sys
from pathlib import Path

import torch
from transformers.utils import logging

from dse_hf import load_model


PRETRAINED = Path(__file__).resolve().parents[2] / "dse_hf" / "pretrained"


def main(run: Path) -> None:
    model, target = load_model(run, device="cpu").to(torch.float16), PRETRAINED / run.name
    model.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors gives it to its owner alone
    (target / "preprocessor_config.json").write_text((run / "preprocessor_config.json").read_text())
    # Inside the package the code is dse_hf's own; a copy of it beside the weights could only fall behind.
    for copy in target.glob("*.py"):
        copy.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((target / name).read_text())
        fields.pop("auto_map", None)
        (target / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    print(f"{target}: {model.num_parameters():,} parameters")


if __name__ == "__main__":
    logging.disable_progress_bar()
    main(Path(sys.argv[1]))
