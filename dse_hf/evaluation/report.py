"""Results of an evaluation → a folder of tables and pictures."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..data import Clip
from ..files import write_text
from .figures import improvement_figure, save_figure, spectrogram_figure
from .model_index import model_index
from .peers import INPUT
from .run import with_unique_names
from .summary import bootstrap_interval, first_source_scores, label
from .systems import System
from .tables import finished_systems, report_markdown
from .workers import recorded_attributes


BIN_DB = 5.0  # width of the bins of the input's SI-SDR, for clips without a stated SNR


def write_report(results: dict, systems: list[System], clips: Callable[[], Iterable[Clip]], output_dir) -> list[str]:
    """Writes `table.md`, `model-index.json`, `improvement.png` and spectrograms, and returns the names of the files.

    The arguments are those of [`evaluate`], and its results. Each system's best, median and worst clip are drawn.
    """
    folder = Path(output_dir)
    write_text(folder / "table.md", report_markdown(results))
    indices = {name: model_index(results, name) for name in finished_systems(results) if name != INPUT}
    write_text(folder / "model-index.json", json.dumps(indices, indent=1) + "\n")
    written = ["table.md", "model-index.json"]
    series, axis = improvement_by_level(results)
    if series:
        save_figure(improvement_figure(series, axis), folder / "improvement.png")
        written.append("improvement.png")
    return written + _draw_spectrograms(results, systems, clips, folder)


# ── Improvement over the level of the input ──


def improvement_by_level(results: dict) -> tuple[dict[str, list], str]:
    """System → points for [`improvement_figure`], and the title of their axis: input SNR, or the input's SI-SDR."""
    systems = {name: entry["clips"] for name, entry in finished_systems(results).items() if name != INPUT}
    by_snr = any("snr" in record["attributes"] for records in systems.values() for record in records)
    series = {}
    for name, records in systems.items():
        levels = defaultdict(list)
        for record in records:
            scores = first_source_scores(record)
            gain, level = scores["si_sdr_improvement"], record["attributes"].get("snr")
            if gain is not None and not by_snr:
                level = BIN_DB * round((scores["si_sdr"] - gain) / BIN_DB)
            if gain is not None and level is not None:
                levels[float(level)].append(gain)
        if levels:
            series[name] = [(x, float(np.mean(y)), bootstrap_interval(np.array(y))) for x, y in levels.items()]
    return series, "input SNR (dB)" if by_snr else f"SI-SDR of the input (dB, in steps of {label(BIN_DB)})"


# ── Spectrograms ──


def notable_clips(records: list[dict]) -> dict[str, str]:
    """`"best"`, `"median"` and `"worst"` → name of the clip with that improvement; empty if no clip has one."""
    gains = {record["name"]: first_source_scores(record)["si_sdr_improvement"] for record in records}
    ranked = sorted((name for name, gain in gains.items() if gain is not None), key=lambda name: -gains[name])
    places = {"best": 0, "median": len(ranked) // 2, "worst": -1}
    return {rank: ranked[place] for rank, place in places.items()} if ranked else {}


def _draw_spectrograms(results, systems, clips, folder: Path) -> list[str]:
    sources, sampling_rate = results["dataset"]["sources"], results["dataset"]["sampling_rate"]
    pictures = defaultdict(list)  # clip → system, rank
    for system in systems:
        if system.name != INPUT:
            for rank, name in notable_clips(results["models"][system.name]["clips"]).items():
                pictures[name].append((system, rank))
    written = []
    for clip in with_unique_names(clips()) if pictures else ():
        snr = recorded_attributes(clip).get("snr")
        title = clip.name if snr is None else f"{clip.name}, {label(snr)} dB"
        for system, rank in pictures.get(clip.name, ()):
            estimate = system.separate(clip.mixture, sampling_rate, sources)[sources[0]]
            signals = {
                f"{title}: the mixture": clip.mixture,
                f"{sources[0]} by {system.name} ({rank} clip)": np.nan_to_num(estimate),
                f"{sources[0]}, the original": clip.references[0],
            }
            written.append(f"spectrograms/{slug(system.name)}.{rank}.png")
            (folder / "spectrograms").mkdir(exist_ok=True)
            save_figure(spectrogram_figure(signals, sampling_rate), folder / written[-1])
    return sorted(written)


def slug(name: str) -> str:
    """A system's name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "--", name).strip(".-") or "model"
