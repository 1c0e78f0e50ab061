#!/usr/bin/env python3
"""Gives a trained Wave-U-Net more channels or one more level, without a change in what it computes.

    python model_cards/waveunet-speech-16khz/widen.py waveunet-speech-16khz runs/wider --channel-growth 24
    python model_cards/waveunet-speech-16khz/widen.py waveunet-speech-16khz runs/deeper --one-more-level

What the new channels compute is random at first, and nobody listens to it: old channels weigh them with 0, as in
Chen et al. 2016 (Net2Net) but without copies of channels. A new level goes between the bottleneck, which becomes its
downsampling block, and the decoder. Training goes on from there: from weights that are good already, with room for
more.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import set_seed

from dse_hf import WaveUNetModel, load_model
from dse_hf.registry import feature_extractor_for


RAISED = 2.0  # over the lowest values that leave the bottleneck


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
def deepen(model: WaveUNetModel) -> WaveUNetModel:
    """A model with one more level and the same outputs.

    The old bottleneck has the shape of the new downsampling block. The new upsampling block hands on what that one
    leaves, raised by `RAISED` so that its LeakyReLU keeps all but the rarest values as they are; the block after it
    takes that off again (but for the ends of the signal, where its padding is 0).
    """
    levels, growth = model.config.num_layers, model.config.channel_growth
    deeper = WaveUNetModel(type(model.config)(**{**model.config.to_diff_dict(), "num_layers": levels + 1}))
    old, new = model.network, deeper.network
    for source, target in zip((*old.encoder, old.bottleneck[0]), new.encoder):
        target.load_state_dict(source.state_dict())
    for source, target in zip((*old.decoder, *old.output_layer), (*new.decoder[1:], *new.output_layer)):
        target.load_state_dict(source.state_dict())
    first, second = new.decoder[:2]
    channels = torch.arange((levels + 1) * growth)
    first.weight.zero_()
    first.weight[channels, -len(channels) + channels, first.kernel_size[0] // 2] = 1.0
    first.bias.fill_(RAISED)
    second.bias -= RAISED * second.weight[:, : len(channels)].sum(dim=(1, 2))
    return deeper


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
    parser.add_argument("--channel-growth", type=int, help="channels that every level adds (default: as many as now)")
    parser.add_argument("--one-more-level", action="store_true", help="deepen the network by a level")
    parser.add_argument("--seed", type=int, default=0, help="of the new channels (default: %(default)s)")
    arguments = parser.parse_args()
    set_seed(arguments.seed)
    model = load_model(arguments.model, device="cpu", dtype="float32")
    if arguments.one_more_level:
        model = deepen(model)
    if arguments.channel_growth:
        model = widen(model, arguments.channel_growth)
    model.save_pretrained(arguments.output)
    feature_extractor_for(model.config).save_pretrained(arguments.output)
    print(f"{arguments.output}: {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()
