#!/usr/bin/env python3
"""Makes a trained run the embedded model: weights, config and feature extractor, without the code that travels.

python model_cards/waveunet-speech-16khz/embed.py runs/waveunet-speech-16khz
"""

import json
import sys
from pathlib import Path

from dse_hf import WaveUNetModel


HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "dse_hf" / "pretrained" / HERE.name


def main(run: Path) -> None:
    model = WaveUNetModel.from_pretrained(run, dtype="float32")
    model.save_pretrained(TARGET)
    (TARGET / "preprocessor_config.json").write_text((run / "preprocessor_config.json").read_text())
    # Inside the package the code is dse_hf's own; a copy of it beside the weights could only fall behind.
    for copy in TARGET.glob("*.py"):
        copy.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((TARGET / name).read_text())
        fields.pop("auto_map", None)
        (TARGET / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    print(f"{TARGET}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else f"runs/{HERE.name}"))
