#!/usr/bin/env python3
"""Makes the network at 48 kHz from the published one at 16 kHz, as a start for training.

    python model_cards/waveunet-speech-48khz/initial.py runs/initial-48khz

Band 0 of the filter bank gets the weights of waveunet-speech-16khz, without tanh. The network sees the other bands
with weights of zero at first, and its foreground has all that the mixture has in them. The biases fade in training.
"""

import argparse
import sys
from pathlib import Path

import torch

from dse_hf import WaveformFeatureExtractor, WaveUNetConfig, WaveUNetModel, load_model


START = "waveunet-speech-16khz"
BANDS = 3


def full_band_model(start: WaveUNetModel) -> WaveUNetModel:
    """Returns a model of three bands with linear output, whose band 0 has the weights of a mono model of one band."""
    fields = start.config.to_diff_dict()
    for name in ("architectures", "dtype", "transformers_version", "average_polarity_flip"):
        fields.pop(name, None)
    fields.update(bands=BANDS, output_activation="linear", sampling_rate=BANDS * start.config.sampling_rate)
    model = WaveUNetModel(WaveUNetConfig(**fields))
    weights = start.state_dict()
    first, last, last_bias = "network.encoder.0.weight", "network.output_layer.0.weight", "network.output_layer.0.bias"
    growth = start.config.channel_growth
    entrance = weights[first].new_zeros(growth, BANDS, weights[first].shape[-1])
    entrance[:, :1] = weights[first]
    exit = weights[last].new_zeros(BANDS, growth + BANDS, 1)
    exit[:1, : growth + 1] = weights[last]
    exit[1:, growth + 1 :, 0] = torch.eye(BANDS - 1)  # the foreground has these bands of the mixture
    bias = torch.cat([weights[last_bias], weights[last_bias].new_zeros(BANDS - 1)])
    model.load_state_dict({**weights, first: entrance, last: exit, last_bias: bias})
    return model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that the model is written into")
    folder = parser.parse_args().folder
    model = full_band_model(load_model(START))
    model.save_pretrained(folder)
    WaveformFeatureExtractor(sampling_rate=model.config.sampling_rate).save_pretrained(folder)
    print(f"{folder}: {model.num_parameters():,} parameters at {model.config.sampling_rate} Hz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
