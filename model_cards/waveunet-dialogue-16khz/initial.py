#!/usr/bin/env python3
"""Makes the model that the training starts from: a speech model that also has an output for music.

    python model_cards/waveunet-dialogue-16khz/initial.py runs/dialogue-16khz-initial

The dialogue is the foreground of the speech model. The output weights of the music are small random numbers. The
effects are the rest: before the training, they are the background of the speech model.
"""

import argparse

import torch
from sources import SOURCES

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.loading import DEFAULT_MODEL
from dse_hf.registry import feature_extractor_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="folder that the model is saved in")
    parser.add_argument(
        "--speech-model", default=DEFAULT_MODEL, help="embedded name, folder or Hub id (default: %(default)s)"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    speech = load_model(arguments.speech_model, device="cpu", dtype="float32")
    model = WaveUNetModel(WaveUNetConfig(**{**speech.config.to_diff_dict(), "sources": list(SOURCES)}))
    known = speech.state_dict()
    for name, tensor in model.state_dict().items():
        tensor[: len(known[name])].copy_(known[name])  # the output layer has one more row than the speech model's
    model.save_pretrained(arguments.folder)
    feature_extractor_for(model.config).save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
