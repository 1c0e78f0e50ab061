#!/usr/bin/env python3
"""Compares settings of the autoencoder in small runs. The table "What moved the score" of the card has the results.

    python model_cards/dae-speech-8khz/trials.py corpus --log-offset 0.2 --level-low -31 --level-high -19

trains for half a minute of one core, and prints the SI-SDR and STOI of 48 validation mixtures. The training windows
are made once and kept in `runs/trials.npz`. The first layer of the network takes away the mean of the noisy frame;
`--return-level` adds it to the output. The library has no such option: the run shows what the loss of the mean costs.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from dse_hf import DAEConfig, DAEModel
from dse_hf.data import ClipCollection, DataArguments, SpeechNoiseMixtures
from dse_hf.evaluation.metrics import si_sdr, stoi
from dse_hf.models.feature_extraction_spectrogram import log_magnitude, short_time_spectrum


sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "waveunet-speech-16khz"))
from mixtures import SNRS, held_out_mixtures


RATE, TRAINING_WINDOWS, PER_SNR, LEVEL = 8000, 2400, 12, -25


class ReturnsLevel(DAEModel):
    """A `DAEModel` whose network predicts log-magnitudes relative to the mean of its input."""

    def forward(self, input_features, labels=None, return_dict=True):
        outputs = super().forward(input_features, return_dict=return_dict)
        outputs.reconstruction = outputs.reconstruction.float() + input_features.mean(dim=-1, keepdim=True)
        if labels is not None:
            outputs.loss = F.mse_loss(outputs.reconstruction, labels)
        return outputs


def windows(corpus: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns mixtures and speech at -25 dBFS: (N, 2, 2 s) for training, (48, 2, 6 s) for validation."""
    kept = Path("runs/trials.npz")
    if not kept.exists():
        arguments = DataArguments(f"{corpus}/speech", f"{corpus}/noise", level_low=LEVEL, level_high=LEVEL)
        collections = (ClipCollection(f"{corpus}/{name}", "train", RATE) for name in ("speech", "noise"))
        training = SpeechNoiseMixtures(*collections, 2 * RATE, TRAINING_WINDOWS, arguments, seed=7)
        validation = held_out_mixtures(corpus, PER_SNR, "validation", RATE)
        kept.parent.mkdir(exist_ok=True)
        np.savez(
            kept,
            training=np.stack([pair(training[i]) for i in range(TRAINING_WINDOWS)]).astype(np.float16),
            validation=np.stack([pair(mixtures[i]) for mixtures in validation.values() for i in range(PER_SNR)]),
        )
    arrays = np.load(kept)
    return arrays["training"], arrays["validation"]


def pair(example: dict) -> np.ndarray:
    return np.stack([example["input_values"][0], example["labels"][0, 0]])


def train(model: DAEModel, training: np.ndarray, arguments) -> None:
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0)
    steps = arguments.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for _ in range(steps):
        batch = training[rng.integers(len(training), size=arguments.windows)].astype(np.float32)
        levels = rng.uniform(arguments.level_low, arguments.level_high, (len(batch), 1, 1)) - LEVEL
        noisy, clean = (features(model, signal) for signal in torch.from_numpy(batch * 10 ** (levels / 20)).unbind(1))
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_features=noisy, labels=clean).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def features(model: DAEModel, signals: torch.Tensor) -> torch.Tensor:
    config = model.config
    return log_magnitude(short_time_spectrum(signals, config.n_fft, config.hop_length), config.log_offset)


def report(model: DAEModel, validation: np.ndarray) -> None:
    mixtures, speech = torch.from_numpy(validation).split(1, dim=1)  # (N, 1, T)
    for title, estimates in (("input", mixtures), ("trial", model.separate(mixtures, RATE)["foreground"])):
        scores = si_sdr(estimates, speech).squeeze(1)
        by_snr = ", ".join(f"{score:.2f}" for score in scores.view(len(SNRS), -1).mean(dim=1))
        intelligibility = stoi(estimates, speech, RATE).mean()
        print(f"{title}: SI-SDR {scores.mean():.2f} dB (at {SNRS} dB: {by_snr}), STOI {intelligibility:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that waveunet-speech-16khz/corpus.py made")
    parser.add_argument("--log-offset", type=float, default=0.2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--windows", type=int, default=4, help="windows of 2 seconds in a step (default: %(default)s)")
    parser.add_argument("--level-low", type=float, default=-25, help="lowest level in dBFS (default: %(default)s)")
    parser.add_argument("--level-high", type=float, default=-25, help="highest level in dBFS (default: %(default)s)")
    parser.add_argument("--return-level", action="store_true", help="add the mean of the noisy frame to the output")
    arguments = parser.parse_args()
    training, validation = windows(arguments.corpus)
    torch.manual_seed(0)
    model = (ReturnsLevel if arguments.return_level else DAEModel)(DAEConfig(log_offset=arguments.log_offset))
    train(model, training, arguments)
    report(model.eval(), validation)


if __name__ == "__main__":
    main()
