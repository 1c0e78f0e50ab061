#!/usr/bin/env python3
"""Measures what the model does to speech alone, noise alone and silence, where there is nothing to separate.

    python model_cards/waveunet-speech-16khz/extremes.py corpus

prints the tables of the card, with other denoisers beside the model, and counts the clips that miss the goals of the
project. `--write` replaces `extremes.json` and these tables.
"""

import json
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from mixtures import PEERS, SECONDS, held_out_noise, held_out_speech
from tqdm import tqdm
from transformers.utils import logging

from dse_hf.evaluation import metrics
from dse_hf.evaluation.processes import scoring_context
from dse_hf.evaluation.systems import System, load_system


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser  # noqa: E402


RESULTS = "extremes.json"
RATE = 16000
TABLE = re.compile(r"(<!-- table: extremes\.json -->\n).*?(<!-- /table -->)", re.DOTALL)
SOURCES = ["foreground", "background"]


def foreground_of(system: System, mixture: np.ndarray) -> np.ndarray:
    return system.separate(mixture, RATE, SOURCES)["foreground"]


def harm(system: System, clip: dict) -> dict:
    """Returns the scores of the foreground of clean speech."""
    estimate = torch.from_numpy(foreground_of(system, clip["input_values"]))
    reference = torch.from_numpy(clip["labels"][0])
    return {
        "si_sdr": metrics.si_sdr(estimate, reference).item(),
        "pesq": metrics.pesq(estimate, reference, RATE).item(),
        "stoi": metrics.stoi(estimate, reference, RATE).item(),
    }


def attenuation(system: System, mixture: np.ndarray) -> float:
    """Returns how many dB the foreground is below the input, at most 100."""
    left, given = (float(np.square(x, dtype=np.float64).sum()) for x in (foreground_of(system, mixture), mixture))
    return min(100.0, 10 * np.log10(given / max(left, 1e-30)))


def measure(system: System, corpus: str, size: int, split: str) -> dict:
    speech, noise = held_out_speech(corpus, size, split, RATE), held_out_noise(corpus, size, split, RATE)
    return {
        "version": system.version,
        "speech": [harm(system, speech[index]) for index in range(size)],
        "noise": [attenuation(system, noise[index]["input_values"]) for index in range(size)],
        "silence": float(np.abs(foreground_of(system, np.zeros((1, RATE), np.float32))).max()),
    }


def markdown_table(results: dict) -> str:
    clean = [
        "| clean speech | SI-SDR (dB) | worst | clips below 25 | PESQ-WB | worst | clips below 4 | STOI | worst |",
        "|---" * 9 + "|",
    ]
    nothing = [
        "| no speech | noise alone: dB below the input | worst | clips below 15 | digital silence |",
        "|---" * 5 + "|",
    ]
    for name, result in results["systems"].items():
        si_sdr, pesq, stoi = ([clip[metric] for clip in result["speech"]] for metric in ("si_sdr", "pesq", "stoi"))
        noise, silence = result["noise"], _silence(result["silence"])
        clean.append(
            f"| {name} | {mean(si_sdr):.1f} | {min(si_sdr):.1f} | {_below(25, si_sdr)} "
            f"| {mean(pesq):.2f} | {min(pesq):.2f} | {_below(4, pesq)} | {mean(stoi):.3f} | {min(stoi):.3f} |"
        )
        nothing.append(f"| {name} | {mean(noise):.1f} | {min(noise):.1f} | {_below(15, noise)} | {silence} |")
    return "\n".join([*clean, "", *nothing])


def _below(goal: float, values: list[float]) -> int:
    return sum(value < goal for value in values)


def _silence(peak: float) -> str:
    if not np.isfinite(peak):
        return "not a number"
    return "silence" if peak == 0 else f"peak {20 * np.log10(peak):.0f} dBFS"


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--clips", type=int, default=50, help="number of clips of speech, and of noise")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes; each measures one system at a time")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    systems = [load_system(name) for name in (*PEERS, arguments.model)]
    measure_one = partial(measure, corpus=arguments.corpus, size=arguments.clips, split=arguments.split)
    threads = max(1, torch.get_num_threads() // arguments.jobs)
    processes = ProcessPoolExecutor(arguments.jobs, scoring_context(), torch.set_num_threads, (threads,))
    with processes, tqdm(total=len(systems), desc="systems", disable=None) as bar:
        measured = {}
        for system, result in zip(systems, processes.map(measure_one, systems)):
            measured[system.name] = result
            bar.update()
    results = {
        "dataset": {"split": arguments.split, "clips": arguments.clips, "seconds": SECONDS},
        "systems": measured,
    }
    table = markdown_table(results)
    if arguments.write:
        (HERE / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        card = HERE / "README.md"
        card.write_text(
            TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", card.read_text("utf-8")), encoding="utf-8"
        )
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
