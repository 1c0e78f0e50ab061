#!/usr/bin/env python3
"""Measures a model on the held-out mixtures, and writes `results.json` and the table of the card.

python model_cards/waveunet-speech-16khz/evaluate.py corpus [--model FOLDER]
"""

import argparse
import json
import platform
import time
from collections import defaultdict
from pathlib import Path

import torch
import transformers
from mixtures import SECONDS, SNRS, held_out_mixtures
from tqdm import tqdm

from dse_hf import load_model, metrics


HERE = Path(__file__).parent


def scores(estimate: torch.Tensor, reference: torch.Tensor, sampling_rate: int) -> dict[str, float]:
    """SI-SDR and SDR in dB, PESQ, STOI and ESTOI of a signal (T,)."""
    values = {
        "si_sdr": metrics.si_sdr(estimate, reference),
        "sdr": metrics.sdr(estimate, reference),
        "pesq": metrics.pesq(estimate, reference, sampling_rate),
        "stoi": metrics.stoi(estimate, reference, sampling_rate),
        "estoi": metrics.stoi(estimate, reference, sampling_rate, extended=True),
    }
    return {name: round(float(value), 4) for name, value in values.items()}


def evaluate(model, corpus: str, per_snr: int, split: str) -> list[dict]:
    """One row per clip: SNR, and the scores of the mixture and of the separated foreground."""
    rate, rows = model.config.sampling_rate, []
    for snr, mixtures in held_out_mixtures(corpus, per_snr, split, rate).items():
        for index in tqdm(range(per_snr), f"{snr} dB"):
            example = mixtures[index]
            mixture, reference = torch.from_numpy(example["input_values"]), torch.from_numpy(example["labels"][0])
            foreground = model.separate(mixture, rate)[model.config.sources[0]]
            rows.append(
                {
                    "snr": snr,
                    "clip": index,
                    "input": scores(mixture[0], reference[0], rate),
                    "output": scores(foreground[0], reference[0], rate),
                }
            )
    return rows


def table(rows: list[dict]) -> str:
    """Mean scores as Markdown: the noisy input and the model, for each SNR and for all."""
    groups = defaultdict(list)
    for row in rows:
        groups[f"{row['snr']} dB"].append(row)
    groups["all"] = rows
    lines = ["| input SNR | | SI-SDR (dB) | SDR (dB) | PESQ-WB | STOI | ESTOI |", "|---|---|---|---|---|---|---|"]
    for group, members in groups.items():
        for side, name in (("input", "noisy input"), ("output", "foreground")):
            means = mean_scores(members, side)
            cells = (f"{means[key]:.{digits}f}" for key, digits in DIGITS.items())
            lines.append(f"| {group if side == 'input' else ''} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


DIGITS = {"si_sdr": 1, "sdr": 1, "pesq": 2, "stoi": 3, "estoi": 3}


def mean_scores(rows: list[dict], side: str) -> dict[str, float]:
    return {key: sum(row[side][key] for row in rows) / len(rows) for key in DIGITS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that corpus.py made")
    parser.add_argument("--model", default="waveunet-speech-16khz", help="embedded name, folder or Hub id")
    parser.add_argument("--per-snr", type=int, default=25, help="clips for each SNR (default: 25)")
    parser.add_argument("--split", default="test", help="split of the corpus (default: test)")
    parser.add_argument("--output", type=Path, default=HERE / "results.json", help="where the results go")
    arguments = parser.parse_args()
    started = time.time()
    model = load_model(arguments.model)
    rows = evaluate(model, arguments.corpus, arguments.per_snr, arguments.split)
    results = {
        "model": arguments.model,
        "dataset": f"{arguments.split} split of corpus.py, {len(rows)} mixtures of {SECONDS:g} s at {SNRS} dB",
        "mean": {side: {k: round(v, 4) for k, v in mean_scores(rows, side).items()} for side in ("input", "output")},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "clips": rows,
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    print(f"\n{len(rows)} clips in {time.time() - started:.0f} s; written to {arguments.output}")


if __name__ == "__main__":
    main()
