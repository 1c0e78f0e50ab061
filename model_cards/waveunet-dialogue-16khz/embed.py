#!/usr/bin/env python3
"""Makes a trained run the embedded model: weights as float16, config and feature extractor.

python model_cards/waveunet-dialogue-16khz/embed.py runs/waveunet-dialogue-16khz
"""

import json
import sys
from pathlib import Path

import torch
from transformers.utils import logging

from dse_hf import load_model
from dse_hf.conversion import feature_extractor_for


HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "dse_hf" / "pretrained" / HERE.name


def main(run: Path) -> None:
    model = load_model(run, device="cpu", dtype="float32").to(torch.float16)
    model.save_pretrained(TARGET)
    (TARGET / "model.safetensors").chmod(0o644)  # safetensors gives it to its owner alone
    feature_extractor_for(model.config).save_pretrained(TARGET)
    # Inside the package the code is dse_hf's own; a copy of it beside the weights could only fall behind.
    for copy in TARGET.glob("*.py"):
        copy.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((TARGET / name).read_text())
        fields.pop("auto_map", None)
        (TARGET / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    print(f"{TARGET}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    logging.disable_progress_bar()
    main(Path(sys.argv[1] if len(sys.argv) > 1 else f"runs/{HERE.name}"))
