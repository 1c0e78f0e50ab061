#!/usr/bin/env python3
"""Compares ways for a 16 kHz network to hear and to give 48 kHz, with equal work. The card has the table.

    python model_cards/waveunet-speech-48khz/trials.py corpus48 --steps 80

Each trial starts from waveunet-speech-16khz and learns from the same mixtures, which are made once and kept in
`runs/trials-48khz.npz`. The table has the SI-SDR in dB of 16 validation mixtures before and after the training: whole,
below 8 kHz, and above. Only full-band speech is used. A trial of 80 steps takes three minutes on two cores.
"""

import argparse
import csv
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from initial import full_band_model
from torch import Tensor, nn
from torch.nn import functional as F

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures
from dse_hf.models.modeling_filter_bank import REACH, FilterBank, frame_kernels
from dse_hf.training.bias_fading import BiasFading
from dse_hf.training.losses import WeightedLoss


RATE, EDGE, FULL_BAND = 48000, 8000, 15000  # Hz
WINDOW, CLIP = 64515, 144000  # samples of a training window (on the grid of the network) and of a validation mixture
WINDOWS, CLIPS, BATCH, LEARNING_RATE, WARMUP = 880, 16, 4, 3e-4, 10
START = "waveunet-speech-16khz"


def biased(_steps: int) -> tuple[nn.Module, list]:
    return full_band_model(load_model(START)), []


def faded(steps: int) -> tuple[nn.Module, list]:
    model, _ = biased(steps)
    return model, [BiasFading(model, steps // 2)]


def dropped(_steps: int) -> tuple[nn.Module, list]:
    model, _ = biased(_steps)
    BiasFading(model, 1).drop_biases()
    return model, []


def zero_bands(_steps: int) -> tuple[nn.Module, list]:
    """The foreground starts without the upper bands, instead of with those of the mixture."""
    model, _ = dropped(_steps)
    with torch.no_grad():
        model.network.output_layer[0].weight[1:] = 0
    return model, []


class Polyphase(FilterBank):
    """No filters: three neighbouring samples are three channels."""

    def split(self, frames: Tensor) -> Tensor:
        return frames

    join = split


def polyphase(_steps: int) -> tuple[nn.Module, list]:
    """The low network hears the mean of three samples, and what it takes out is taken out of all three."""
    model, _ = dropped(_steps)
    model.filter_bank = Polyphase(3, zero_padded=True)
    with torch.no_grad():
        weights, growth = load_model(START).state_dict(), model.config.channel_growth
        model.network.encoder[0].weight[:] = weights["network.encoder.0.weight"] / 3
        low, exit = weights["network.output_layer.0.weight"], model.network.output_layer[0].weight
        exit[:, :growth] = low[:, :growth]
        exit[:, growth:, 0] = torch.eye(3) + (low[:, growth:, 0] - 1) / 3
    return model, []


class LearnedBank(FilterBank):
    """A strided first and a transposed last convolution, which start as the filter bank."""

    def __init__(self, model: nn.Module):
        super().__init__(3, zero_padded=True)
        self.kernels = [nn.Parameter(torch.from_numpy(kernel.copy()).float()) for kernel in frame_kernels(3)]
        for number, kernel in enumerate(self.kernels):
            model.register_parameter(f"bank_{number}", kernel)

    def split(self, frames: Tensor) -> Tensor:
        return F.conv1d(frames, self.kernels[0], padding=REACH)

    def join(self, bands: Tensor) -> Tensor:
        return F.conv1d(bands, self.kernels[1], padding=REACH)


def learned_bank(_steps: int) -> tuple[nn.Module, list]:
    model, _ = dropped(_steps)
    model.filter_bank = LearnedBank(model)
    return model, []


class SmallNetworkAbove(WaveUNetModel):
    """The published network does band 0 and does not learn. A small one, which hears all bands, does the others."""

    def __init__(self, config: WaveUNetConfig):
        super().__init__(config)
        small = replace_fields(config, num_layers=8, channel_growth=12, bias=False)
        self.above = WaveUNetModel(small).network
        with torch.no_grad():
            self.above.output_layer[0].weight[:, 12:, 0] = torch.eye(3)
        self.network.requires_grad_(False)

    def _predict_bands(self, bands: Tensor, hidden_states=None) -> Tensor:
        low = super()._predict_bands(bands)[:, :, :1]
        return torch.cat([low, self.above.predict(bands)[:, :, 1:]], dim=2)


def replace_fields(config: WaveUNetConfig, **fields) -> WaveUNetConfig:
    names = ("architectures", "dtype", "transformers_version")
    return WaveUNetConfig(**{k: v for k, v in config.to_diff_dict().items() if k not in names} | fields)


def small_network_above(_steps: int) -> tuple[nn.Module, list]:
    start, _ = biased(_steps)
    model = SmallNetworkAbove(start.config)
    model.network.load_state_dict(start.network.state_dict())
    return model, []


TRIALS: dict[str, Callable[[int], tuple[nn.Module, list]]] = {
    "filter bank, biases kept": biased,
    "filter bank, biases fade": faded,
    "filter bank, no biases": dropped,
    "filter bank, no biases, empty upper bands": zero_bands,
    "learned filters, no biases": learned_bank,
    "three samples as channels, no biases": polyphase,
    "a small network for the upper bands": small_network_above,
}


def full_band_speech(corpus: str, split: str) -> ClipCollection:
    """The speech of a split that reaches 15 kHz."""
    with open(Path(corpus, "speech", split, "metadata.csv"), newline="", encoding="utf-8") as file:
        dull = {row["file_name"] for row in csv.DictReader(file) if float(row["bandwidth"]) < FULL_BAND}
    speech = ClipCollection(f"{corpus}/speech", split, RATE)
    kept = [index for index in range(len(speech)) if Path(speech.name(index)).name not in dull]
    speech.dataset, speech.group_of = speech.dataset.select(kept), [speech.group_of[index] for index in kept]
    speech.groups = {}
    for index, group in enumerate(speech.group_of):
        speech.groups.setdefault(group, []).append(index)
    return speech


def mixtures(corpus: str) -> tuple[Tensor, Tensor]:
    """Speech and noise of mixtures, (N, 2, T), for training and for validation."""
    kept = Path("runs/trials-48khz.npz")
    if not kept.exists():
        training = DataArguments(snr_low=-3, snr_high=15, noise_only_share=0.05, clean_share=0.05)
        fixed = replace(training, snr_low=0, snr_high=10, noise_only_share=0.0, clean_share=0.0, augment=False)
        arrays = {}
        for split, length, count, arguments in (
            ("train", WINDOW, WINDOWS, training),
            ("validation", CLIP, CLIPS, fixed),
        ):
            noise = ClipCollection(f"{corpus}/noise", split, RATE)
            made = SpeechNoiseMixtures(full_band_speech(corpus, split), noise, length, count, arguments, seed=1)
            arrays[split] = np.stack([made[index]["labels"][:, 0] for index in range(count)]).astype(np.float16)
        kept.parent.mkdir(exist_ok=True)
        np.savez(kept, **arrays)
    arrays = np.load(kept)
    return tuple(torch.from_numpy(arrays[split]).float() for split in ("train", "validation"))


def si_sdr(estimate: Tensor, reference: Tensor) -> float:
    target = reference * (estimate @ reference) / (reference @ reference)
    return 10 * math.log10(target.square().sum() / (estimate - target).square().sum())


def part_of(signal: Tensor, above: bool) -> Tensor:
    """The part of a signal (T,) below 8 kHz, or above."""
    spectrum, edge = torch.fft.rfft(signal), round(EDGE * len(signal) / RATE)
    spectrum[slice(0, edge) if above else slice(edge, None)] = 0
    return torch.fft.irfft(spectrum, len(signal))


def scores(estimates: list[Tensor], clips: Tensor) -> list[float]:
    rows = []
    for estimate, (speech, _) in zip(estimates, clips.double()):
        pairs = [(estimate, speech), *((part_of(estimate, a), part_of(speech, a)) for a in (False, True))]
        rows.append([si_sdr(*pair) for pair in pairs])
    return np.mean(rows, axis=0).tolist()


@torch.no_grad()
def foregrounds(model: nn.Module, clips: Tensor) -> list[Tensor]:
    length = model.config.input_length_for(CLIP)
    model.eval()
    padded = (F.pad(clip.sum(dim=0), (0, length - CLIP))[None, None] for clip in clips)
    return [model(mixture).foreground[0, 0, :CLIP].double() for mixture in padded]


def learn(model: nn.Module, callbacks: list, windows: Tensor, steps: int) -> None:
    loss = WeightedLoss(["mixture_snr", "band_snr"], ["foreground", "background"], RATE)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    model.train()
    for step in range(steps):
        rate = LEARNING_RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        for callback in callbacks:
            callback.on_step_begin(None, argparse.Namespace(global_step=step), None)
        first = step * BATCH % len(windows)
        sources = windows[first : first + BATCH, :, None]  # (B, 2, 1, T)
        output = model(sources.sum(dim=1))
        loss(output.sources, sources, output.mixture).backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        optimizer.zero_grad()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that corpus.py made")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--only", nargs="*", default=list(TRIALS), choices=TRIALS, help="some of the trials")
    arguments = parser.parse_args()
    windows, clips = mixtures(arguments.corpus)
    print("| | before: all | below 8 kHz | above | after: all | below 8 kHz | above |\n|---|---|---|---|---|---|---|")
    cells = [f"{value:.1f}" for value in scores(list(clips.sum(dim=1).double()), clips)]
    print(f"| the mixture | {' | '.join(cells)} | | | |", flush=True)
    for name in arguments.only:
        torch.manual_seed(0)
        model, callbacks = TRIALS[name](arguments.steps)
        before = scores(foregrounds(model, clips), clips)
        learn(model, callbacks, windows, arguments.steps)
        after = scores(foregrounds(model, clips), clips)
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in before + after)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
