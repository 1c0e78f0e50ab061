#!/usr/bin/env python3
"""Measures the model under many conditions at 48 kHz: levels, rooms, voices, speech alone, noise alone.

    python model_cards/waveunet-speech-48khz/conditions.py CORPUS

prints tables with the noisy input, other denoisers and today's default beside the model. `--write` replaces
`conditions.json`, and these tables in the card, between `<!-- table: conditions.json -->` and `<!-- /table -->`.
`conditions_sounds.py` makes the sounds.
"""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch
from conditions_sounds import BASE, CLEAN, CONDITIONS, NOISE, PITCH, Sounds
from held_out import DEFAULT, FULL_BAND, MARK, RATE, SECONDS, Recordings
from tqdm import tqdm
from transformers.utils import logging

from dse_hf.evaluation.high_band import band_level
from dse_hf.evaluation.metrics import METRICS, score_signal
from dse_hf.evaluation.processes import scoring_context
from dse_hf.evaluation.systems import INPUT, System, load_system
from dse_hf.evaluation.tables import format_table, round_score


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser, with_block  # noqa: E402


RESULTS = "conditions.json"
PEERS = ("rnnoise", "nsnet2", "deepfilternet", "dtln")
SCORES = ("si_sdr", "pesq", "estoi")
SPEECH_BANDS = {"6 to 8 kHz": (6000, 8000), "8 to 16 kHz": (8000, 16000)}  # Hz
NOISE_BANDS = {"0 to 2 kHz": (0, 2000), "2 to 8 kHz": (2000, 8000), "8 to 16 kHz": (8000, 16000)}  # Hz
MOST_DB = 100.0  # the largest attenuation that counts


# ── Measuring ──


def draw_sounds(speech: Recordings, noise: Recordings, length: int, clip: int) -> Sounds:
    """The recordings of a clip, the same for every condition and system. All speakers and kinds are equally likely."""
    rng = np.random.default_rng((4000, clip))
    speaker, voice = speech.draw(round(PITCH * length) + 1, rng, balance=1)
    talkers = []
    for _attempt in range(100):
        other, talker = speech.draw(length, rng, balance=1)
        if other != speaker or len(set(speech.labels)) == 1:
            talkers.append(talker[0])
        if len(talkers) == 2:
            break
    return Sounds(voice[0], noise.draw(length, rng, balance=1)[1][0], talkers)


def measure(task: tuple[System, str], corpus: str, split: str, clips: int) -> list[dict]:
    """Measures a system under one condition. Returns a record of each clip."""
    system, condition = task
    speech = Recordings(Path(corpus, "speech"), split, FULL_BAND)
    noise = Recordings(Path(corpus, "noise"), split)
    records = []
    for clip in range(clips):
        sounds = draw_sounds(speech, noise, round(SECONDS * RATE), clip)
        made = CONDITIONS[condition](sounds, np.random.default_rng((5000, clip)))
        mixture = made.mixture[None].astype(np.float32)
        estimate = system.separate(mixture, RATE, ["foreground", "background"])["foreground"]
        record = {}
        for title, reference in made.references.items():
            reference = reference[None].astype(np.float32)
            scores, _ = score_signal(estimate, reference, mixture, RATE, list(SCORES))
            record[title] = {name: value if value is None else round(value, 3) for name, value in scores.items()}
            if condition in (BASE, CLEAN):
                record[title].update(speech_levels(estimate, reference))
        if condition == NOISE:
            record["taken out"] = attenuation(estimate, mixture)
        records.append(record)
    return records


def speech_levels(estimate: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """By how many dB the estimate (1, T) is louder than clean speech in two bands, while someone speaks."""
    given = [torch.from_numpy(np.float64(signal)) for signal in (estimate, reference)]
    levels = {band: [band_level(x, given[1], RATE, *edges) for x in given] for band, edges in SPEECH_BANDS.items()}
    return {band: round(max(-MOST_DB, float(ours - clean)), 2) for band, (ours, clean) in levels.items()}


def attenuation(estimate: np.ndarray, mixture: np.ndarray) -> dict[str, float]:
    """How many dB the estimate (1, T) is below the mixture, in all and in bands; at most 100."""
    powers = [np.square(np.abs(np.fft.rfft(np.float64(signal[0])))) for signal in (mixture, estimate)]
    frequencies = np.fft.rfftfreq(mixture.shape[-1], 1 / RATE)
    taken = {}
    for band, (low, high) in {"all": (0, RATE), **NOISE_BANDS}.items():
        given, left = (power[(low <= frequencies) & (frequencies < high)].sum() for power in powers)
        taken[band] = round(min(MOST_DB, 10 * np.log10(max(given, 1e-30) / max(left, 1e-30))), 2)
    return taken


# ── Tables ──


def markdown_tables(results: dict) -> str:
    """All tables, each with a line above it."""
    systems = results["systems"]
    parts = []
    for metric in SCORES:
        parts += [f"{METRICS[metric].heading(RATE)}, mean:", score_table(systems, metric, mean)]
    parts += [
        f"{METRICS['si_sdr'].heading(RATE)}, worst clip:",
        score_table(systems, "si_sdr", min),
        "Level of the estimate against that of the clean speech (dB), median:",
        level_table(systems),
        "What is taken out of noise alone (dB):",
        noise_table(systems),
    ]
    return "\n\n".join(parts)


def score_table(systems: dict, metric: str, statistic: Callable) -> str:
    """A row for each condition and reference, a column for each system."""
    rows = []
    for condition, records in next(iter(systems.values()))["conditions"].items():
        for title in records[0]:
            if condition != NOISE:
                cells = [values_of(system, condition, title, metric) for system in systems.values()]
                name = f"{condition}, {title}" if title else condition
                rows.append([name, *(round_score(metric, statistic(x)) if x else "–" for x in cells)])
    return format_table(["", *systems], *rows)


def level_table(systems: dict) -> str:
    rows = []
    for condition in (BASE, CLEAN):
        for band in SPEECH_BANDS:
            cells = [median(values_of(system, condition, "", band)) for system in systems.values()]
            rows.append([f"{condition}, {band}", *(f"{cell + 0:+.1f}" for cell in cells)])
    return format_table(["", *systems], *rows)


def noise_table(systems: dict) -> str:
    rows = []
    for title, band, statistic in (
        ("mean", "all", mean),
        ("worst clip", "all", min),
        *((f"mean, {band}", band, mean) for band in NOISE_BANDS),
    ):
        cells = [statistic(values_of(system, NOISE, "taken out", band)) for system in systems.values()]
        rows.append([title, *(f"{cell:.1f}" for cell in cells)])
    return format_table(["", *systems], *rows)


def values_of(system: dict, condition: str, title: str, key: str) -> list[float]:
    """The values of all clips that have one."""
    values = [record[title][key] for record in system["conditions"][condition]]
    return [value for value in values if value is not None]


# ── The script ──


def measure_all(systems: list[System], arguments: argparse.Namespace) -> dict:
    """Measures every system under every condition, in several processes."""
    tasks = [(system, condition) for condition in CONDITIONS for system in systems]
    options = {"corpus": arguments.corpus, "split": arguments.split, "clips": arguments.clips}
    threads = max(1, torch.get_num_threads() // arguments.jobs)
    measured: dict = {system.name: {"version": system.version, "conditions": {}} for system in systems}
    processes = ProcessPoolExecutor(arguments.jobs, scoring_context(), torch.set_num_threads, (threads,))
    with processes, tqdm(total=len(tasks), desc="conditions x systems", disable=None) as bar:
        for (system, condition), records in zip(tasks, processes.map(partial(measure, **options), tasks)):
            measured[system.name]["conditions"][condition] = records
            bar.update()
    dataset = {"split": arguments.split, "clips": arguments.clips, "seconds": SECONDS, "sampling_rate": RATE}
    return {"dataset": dataset, "systems": measured}


def main() -> int:
    parser = Parser(__doc__, corpus=HERE / "corpus.py", mark=MARK)
    parser.add_argument("--model", default=HERE.name, help="embedded name, folder or Hub id")
    parser.add_argument("--clips", type=int, default=12, help="number of clips for each condition")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    arguments = parser.parse_args()
    logging.disable_progress_bar()
    try:
        systems = [load_system(name) for name in dict.fromkeys((INPUT, *PEERS, DEFAULT, arguments.model))]
    except ValueError as error:
        sys.exit(f"conditions.py: {error}")
    results = measure_all(systems, arguments)
    tables = markdown_tables(results)
    if arguments.write:
        (HERE / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        card = HERE / "README.md"
        if card.exists():  # a new model has none yet
            card.write_text(with_block(card.read_text(encoding="utf-8"), RESULTS, tables), encoding="utf-8")
    print(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
