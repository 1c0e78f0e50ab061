#!/usr/bin/env python3
"""Gives a trained Wave-U-Net more channels, without a change in what it computes.

    python model_cards/waveunet-speech-16khz/widen.py waveunet-speech-16khz runs/wider --channel-growth 24

What the new channels compute is random at first, and nobody listens to it: old channels weigh them with 0, as in
Chen et al. 2016 (Net2Net) but without copies of channels. Training goes on from there: from weights that are good
already, with room for more.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import set_seed

from dse_hf import WaveUNetModel, load_model
from dse_hf.conversion import feature_extractor_for


def widen(model: WaveUNetModel, channel_growth: int) -> WaveUNetModel:
    """A model of that `channel_growth` with the same outputs.

    Raises:
        ValueError: it has as many channels already.
    """
    old = model.config.channel_growth
    if channel_growth <= old:
        raise ValueError(f"channel_growth={channel_growth}: the model has {old}; give more")
    wider = WaveUNetModel(type(model.config)(**{**model.config.to_diff_dict(), "channel_growth": channel_growth}))
    levels, channels = model.config.num_layers, model.config.channels

    def growing(level: int) -> tuple[int, int]:
        """Channels of a level, before and after; level 0 is the waveform."""
        return (level * old, level * channel_growth) if level else (channels, channels)

    def fill(narrow: nn.Conv1d, wide: nn.Conv1d, *inputs: tuple[int, int]) -> None:
        copy_weights(narrow, wide, inputs)

    networks = model.network, wider.network
    for level, blocks in enumerate(zip(*(network.encoder for network in networks)), start=1):
        fill(*blocks, growing(level - 1))
    fill(*(network.bottleneck[0] for network in networks), growing(levels))
    for level, blocks in zip(range(levels, 0, -1), zip(*(network.decoder for network in networks))):
        fill(*blocks, growing(level + 1), growing(level))
        if model.config.upsampling == "learned":
            narrow, wide = (block.upsample.weight.data for block in blocks)
            wide[: len(narrow)] = narrow
    fill(*(network.output_layer[0] for network in networks), growing(1), growing(0))
    return wider


@torch.no_grad()
def copy_weights(narrow: nn.Conv1d, wide: nn.Conv1d, inputs: tuple[tuple[int, int], ...]) -> None:
    """The old outputs as they were; `inputs` are the groups of input channels, each as (before, after)."""
    places, start = [], 0
    for before, after in inputs:
        places += range(start, start + before)
        start += after
    outputs: Tensor = wide.weight[: narrow.out_channels]
    outputs.zero_()
    outputs[:, places] = narrow.weight
    wide.bias[: narrow.out_channels] = narrow.bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="embedded name, folder or Hub id")
    parser.add_argument("output", type=Path, help="folder of the wider model")
    parser.add_argument("--channel-growth", type=int, required=True, help="channels that every level adds")
    parser.add_argument("--seed", type=int, default=0, help="of the new channels (default: %(default)s)")
    arguments = parser.parse_args()
    set_seed(arguments.seed)
    wider = widen(load_model(arguments.model, device="cpu", dtype="float32"), arguments.channel_growth)
    wider.save_pretrained(arguments.output)
    feature_extractor_for(wider.config).save_pretrained(arguments.output)
    print(f"{arguments.output}: {wider.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
