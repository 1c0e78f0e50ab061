#!/usr/bin/env python3
"""Makes the model that training starts from: a speech model, with an output for the music.

    python model_cards/waveunet-dialogue-16khz/initial.py waveunet-speech-16khz runs/waveunet-dialogue-16khz-initial

The dialogue is the speech model's foreground. The output layer's weights for the music are small random numbers, and
the effects are the rest: before training they are all of the background.
"""

import sys
from pathlib import Path

import torch
from sources import SOURCES

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.registry import feature_extractor_for


def main(speech_model: str, folder: Path) -> None:
    torch.manual_seed(0)
    speech = load_model(speech_model, device="cpu")
    fields = {**speech.config.to_diff_dict(), "sources": list(SOURCES)}
    model = WaveUNetModel(WaveUNetConfig(**fields))
    weights, known = model.state_dict(), speech.state_dict()
    for name, tensor in weights.items():
        if tensor.shape == known[name].shape:
            tensor.copy_(known[name])
        else:
            tensor[:1].copy_(known[name])
    model.save_pretrained(folder)
    feature_extractor_for(model.config).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
