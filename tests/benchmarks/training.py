#!/usr/bin/env python3
"""Measures the speed of training with a recipe: steps per second of every arrangement of the network, compared with
the plain float32 step, and the share of the time that the model waits for data. The arrangements run in turns.

    PYTHONPATH=. python tests/benchmarks/training.py model_cards/waveunet-speech-16khz/recipe.yaml [--workers 2]
"""

import argparse
import contextlib
import json
import platform
import statistics
import time

import torch
from transformers import default_data_collator

from dse_hf.data import build_training_set
from dse_hf.training.arguments import parse_arguments
from dse_hf.training.losses import WeightedLoss
from dse_hf.training.run import build_model


class Steps:
    """Training steps of a model with one arrangement of its network."""

    def __init__(self, recipe, device: torch.device, plain: bool, bf16: bool):
        model_args, _, training_args = recipe
        torch.manual_seed(0)
        self.model = build_model(model_args).to(device)
        if plain:  # the network as the paper draws it
            network = self.model.network
            name = "predict" if hasattr(network, "predict") else "predict_sources"  # in older versions
            setattr(self.model, f"_{name}", getattr(network, name))
        self.device, self.bf16 = device, bf16
        config = self.model.config
        self.loss = WeightedLoss(training_args.losses, config.sources, config.sampling_rate).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)

    def __call__(self, batch) -> float:
        """Runs one step and returns its time in seconds."""
        started = time.perf_counter()
        mixture, labels = (batch[name].to(self.device, non_blocking=True) for name in ("input_values", "labels"))
        precision = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with precision:
            outputs = self.model(mixture)
        length = outputs.sources.shape[-1]
        start = (labels.shape[-1] - length) // 2
        loss = self.loss(outputs.sources, labels[..., start : start + length], outputs.mixture)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started


def waiting_share(steps: Steps, dataset, batch_size: int, workers: int, count: int) -> float:
    """Which share of the time of `count` steps is spent waiting for the next batch. The first steps do not count."""
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size,
        num_workers=workers,
        collate_fn=default_data_collator,
        pin_memory=steps.device.type == "cuda",
    )
    waited = worked = 0.0
    batches = iter(loader)
    for number in range(count + 3):
        started = time.perf_counter()
        batch = next(batches)
        pause, work = time.perf_counter() - started, steps(batch)
        if number >= 3:  # the workers have started
            waited, worked = waited + pause, worked + work
    return waited / (waited + worked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each arrangement (default: 5)")
    parser.add_argument("--batch-size", type=int, help="(default: the recipe's)")
    parser.add_argument("--workers", type=int, default=2, help="workers of the data loader (default: 2)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    recipe = parse_arguments([arguments.recipe, *(["--use_cpu", "true"] if device.type == "cpu" else [])])
    torch.backends.cudnn.benchmark = True  # as the trainer does
    batch_size = arguments.batch_size or recipe[2].per_device_train_batch_size

    arrangements = {
        "plain float32": Steps(recipe, device, plain=True, bf16=False),
        "float32": Steps(recipe, device, plain=False, bf16=False),
        "plain bfloat16": Steps(recipe, device, plain=True, bf16=True),
        "bfloat16": Steps(recipe, device, plain=False, bf16=True),
    }
    fastest = list(arrangements.values())[-1]
    config = fastest.model.config
    examples = (max(arguments.rounds, 20) + 10) * batch_size
    dataset = build_training_set(recipe[1], config, examples=examples, seed=0)
    batch = default_data_collator([dataset[i] for i in range(batch_size)])
    times = {name: [] for name in arrangements}
    for number in range(arguments.rounds + 1):
        for name, steps in arrangements.items():
            seconds = steps(batch)
            if number:  # the first one warms up
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(
        f"{where}, {torch.get_num_threads()} threads; batch {batch_size} × {batch['input_values'].shape[-1]} samples"
    )
    for name, seconds in medians.items():
        print(f"{name:15} {1 / seconds:6.2f} steps/s  {medians['plain float32'] / seconds:5.2f}×")
    share = waiting_share(fastest, dataset, batch_size, arguments.workers, max(arguments.rounds, 20))
    print(f"waiting for data with {arguments.workers} workers: {100 * share:.1f}% of the time")
    print(json.dumps({"medians": medians, "waiting": share}))


if __name__ == "__main__":
    main()
