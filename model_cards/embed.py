#!/usr/bin/env python3
"""Makes trained runs an embedded model: the mean of their weights, config and feature extractor.

    python model_cards/embed.py waveunet-dialogue-16khz runs/waveunet-dialogue-16khz

Between the states of one training the mean is a network as well, one whose scores lie between theirs. A run that is
given twice counts twice.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from dse_hf import load_model
from dse_hf.registry import feature_extractor_for


PRETRAINED = Path(__file__).resolve().parents[1] / "dse_hf" / "pretrained"


def save_mean(runs: list, target: Path, dtype: str = "float16", both_polarities: bool = False) -> PreTrainedModel:
    """Saves a model whose weights are the mean of those of the runs, and whose config is the first one's."""
    model, *others = (load_model(run, device="cpu", dtype="float32") for run in runs)
    states = [each.state_dict() for each in (model, *others)]
    model.load_state_dict({name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]})
    if both_polarities:
        model.config.both_polarities = True
    model.to(getattr(torch, dtype)).save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors gives it to its owner alone
    feature_extractor_for(model.config).save_pretrained(target)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the embedded model")
    parser.add_argument("runs", nargs="+", help="folders that training left")
    parser.add_argument(
        "--dtype", choices=["float16", "float32"], default="float16", help="of the file (default: %(default)s)"
    )
    parser.add_argument(
        "--both-polarities", action="store_true", help="the config's both_polarities: a little better, half as fast"
    )
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    target = PRETRAINED / arguments.name
    model = save_mean(arguments.runs, target, arguments.dtype, arguments.both_polarities)
    # Inside the package the code is dse_hf's own; a copy of it beside the weights could only fall behind.
    for copy in target.glob("*.py"):
        copy.unlink()
    for name in ("config.json", "preprocessor_config.json"):
        fields = json.loads((target / name).read_text())
        fields.pop("auto_map", None)
        if "dtype" in fields:
            fields["dtype"] = "float32"  # to compute in, whatever the file is in: half precision is slow on processors
        (target / name).write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
    print(f"{target}: {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
