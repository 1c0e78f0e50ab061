#!/usr/bin/env python3
"""Makes a release of a trained model: its weights in half precision, its config and its feature extractor.

    python model_cards/embed.py runs/speech-16khz release/speech-16khz

The release has the files of a folder of `dse_hf/pretrained`. The script never writes there: to embed a model, copy its
release there by hand.
"""

import argparse
import json
import sys
from pathlib import Path

from transformers.utils import logging

from dse_hf import load_model
from dse_hf.registry import feature_extractor_for


PRETRAINED = Path(__file__).resolve().parents[1] / "dse_hf" / "pretrained"


def release(model_folder: str, target: Path) -> int:
    """Writes the release of a trained model, and returns how many parameters it has.

    Raises:
        ValueError: `target` exists already, or is in `dse_hf/pretrained`.
    """
    if target.exists() or target.resolve().is_relative_to(PRETRAINED):
        raise ValueError(f"{target}: give a new folder, outside {PRETRAINED.parent.name}/{PRETRAINED.name}")
    model = load_model(model_folder, device="cpu", dtype="float32")
    model.half().save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner alone
    feature_extractor_for(model.config).save_pretrained(target)
    for code in target.glob("*.py"):  # a release needs no copy of the code: dse_hf has it
        code.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((target / name).read_text(encoding="utf-8"))
        fields.pop("auto_map", None)
        if "dtype" in fields:
            fields["dtype"] = "float32"  # to compute in: half precision is slow on processors
        (target / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return model.num_parameters()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder of the trained model")
    parser.add_argument("output", type=Path, help="new folder for the release")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    try:
        parameters = release(arguments.folder, arguments.output)
    except (ValueError, OSError) as error:
        print(f"embed.py: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {parameters:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
