#!/usr/bin/env python3
"""Makes trained runs the embedded model: the mean of their weights, without the code that travels.

    D=model_cards/waveunet-speech-16khz R=runs/waveunet-speech-16khz; python $D/embed.py $R-quality $R-perception

Between the states of one training the mean is a network as well, one whose scores lie between theirs.
"""

import json
import sys
from pathlib import Path

import torch

from dse_hf import WaveUNetModel


HERE = Path(__file__).parent
TARGET = HERE.parent.parent / "dse_hf" / "pretrained" / HERE.name


def main(runs: list[Path]) -> None:
    model, *others = (WaveUNetModel.from_pretrained(run, dtype="float32") for run in runs)
    states = [each.state_dict() for each in (model, *others)]
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]})
    model.save_pretrained(TARGET)
    (TARGET / "preprocessor_config.json").write_text((runs[0] / "preprocessor_config.json").read_text())
    # Inside the package the code is dse_hf's own; a copy of it beside the weights could only fall behind.
    for copy in TARGET.glob("*.py"):
        copy.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((TARGET / name).read_text())
        fields.pop("auto_map", None)
        (TARGET / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    print(f"{TARGET}: {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main([Path(run) for run in sys.argv[1:] or [f"runs/{HERE.name}"]])
