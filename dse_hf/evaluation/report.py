"""Results of an evaluation → a folder of tables and pictures, and the `model-index` of a model's card."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..data import Clip
from ..files import write_text
from .figures import improvement_figure, save_figure, spectrogram_figure
from .run import distinct
from .summary import bootstrap_interval, label
from .systems import INPUT, System
from .tables import COLUMNS, complete, report_markdown
from .workers import recorded_attributes


BIN_DB = 5.0  # of the input's SI-SDR, where clips have no stated SNR


def write_report(results: dict, systems: list[System], clips: Callable[[], Iterable[Clip]], output_dir) -> list[str]:
    r"""
    Writes `table.md`, `model-index.json`, `improvement.png` and spectrograms of each system's best, median and
    worst clip.

    Args:
        results (`dict`): as [`evaluate`] gives them.
        systems (`list[System]`): those whose spectrograms are drawn.
        clips, output_dir: as for [`evaluate`].

    Returns:
        `list[str]`: names of the files, within the folder.
    """
    folder = Path(output_dir)
    write_text(folder / "table.md", report_markdown(results))
    indices = {name: model_index(results, name) for name in complete(results) if name != INPUT}
    write_text(folder / "model-index.json", json.dumps(indices, indent=1) + "\n")
    written = ["table.md", "model-index.json"]
    series, axis = improvement_by_level(results)
    if series:
        save_figure(improvement_figure(series, axis), folder / "improvement.png")
        written.append("improvement.png")
    return written + _draw_spectrograms(results, systems, clips, folder)


# ── Improvement over the level of the input ──


def improvement_by_level(results: dict) -> tuple[dict[str, list], str]:
    """Points for [`improvement_figure`] and the title of their axis: input SNR, or the input's SI-SDR in bins."""
    entries = {name: entry for name, entry in complete(results).items() if name != INPUT}
    series = {}
    for name, entry in entries.items():
        by_snr = entry["groups"].get("snr", {})
        points = [
            (float(snr), group["mean"]["si_sdr_improvement"], group["interval"]["si_sdr_improvement"])
            for snr, group in by_snr.items()
            if group["mean"]["si_sdr_improvement"] is not None
        ]
        if points:
            series[name] = points
    if series:
        return series, "input SNR (dB)"
    for name, entry in entries.items():
        bins = defaultdict(list)
        for record in entry["clips"]:
            scores = _first_scores(record)
            if scores["si_sdr_improvement"] is not None:
                level = BIN_DB * round((scores["si_sdr"] - scores["si_sdr_improvement"]) / BIN_DB)
                bins[level].append(scores["si_sdr_improvement"])
        if bins:
            series[name] = [
                (level, float(np.mean(values)), bootstrap_interval(np.array(values))) for level, values in bins.items()
            ]
    return series, f"SI-SDR of the input (dB, in steps of {label(BIN_DB)})"


def _first_scores(record: dict) -> dict:
    return next(iter(record["scores"].values()))


# ── Spectrograms ──


def notable_clips(records: list[dict]) -> dict[str, str]:
    """`"best"`, `"median"` and `"worst"` → the clip's name, by improvement; none where no clip has one."""
    scored = [record for record in records if _first_scores(record)["si_sdr_improvement"] is not None]
    if not scored:
        return {}
    ranked = sorted(scored, key=lambda record: -_first_scores(record)["si_sdr_improvement"])
    return {rank: ranked[at]["name"] for rank, at in (("best", 0), ("median", len(ranked) // 2), ("worst", -1))}


def _draw_spectrograms(results, systems, clips, folder: Path) -> list[str]:
    sources, sampling_rate = results["dataset"]["sources"], results["dataset"]["sampling_rate"]
    pictures = defaultdict(list)  # clip → system, rank
    for system in systems:
        if system.name != INPUT:
            for rank, name in notable_clips(results["models"][system.name]["clips"]).items():
                pictures[name].append((system, rank))
    written = []
    for clip in distinct(clips()) if pictures else ():
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
    """A system's name, fit for a file's."""
    return re.sub(r"[^\w.-]+", "--", name).strip(".-") or "model"


# ── Card ──


def eval_results(results: dict, name: str) -> list:
    """A system's means as `huggingface_hub.EvalResult`s, for `ModelCardData(eval_results=…)`.

    Raises:
        ValueError: the results have no such system, or not all of its scores.
    """
    from huggingface_hub import EvalResult

    entries = complete(results)
    if name not in entries:
        raise ValueError(f"model {name!r}: not in these results; they have {', '.join(entries) or 'none'}")
    dataset = results["dataset"]
    title = str(dataset.get("name", "dataset"))
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Source separation",
            dataset_type=title,
            dataset_name=title,
            dataset_split=dataset.get("split"),
            dataset_args={"clips": dataset["clips"], "fingerprint": dataset["fingerprint"]},
            metric_type=metric,
            metric_name=COLUMNS[metric][0].removesuffix(" (dB)"),
            metric_value=value,
        )
        for metric, value in entries[name]["mean"].items()
        if value is not None
    ]


def model_index(results: dict, name: str) -> list[dict]:
    """The same as the `model-index` of a card's metadata; `eval_results` there reads it back."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    return eval_results_to_model_index(name, eval_results(results, name))
