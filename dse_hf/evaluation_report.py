"""Results of an evaluation → tables in Markdown, pictures, and the `model-index` of a model's card."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from .data import Clip
from .evaluation import distinct
from .evaluation_peers import INPUT, System
from .evaluation_summary import bootstrap_interval, label
from .evaluation_workers import recorded_attributes
from .figures import improvement_figure, save_figure, spectrogram_figure


COLUMNS = {  # metric → title, digits
    "si_sdr": ("SI-SDR (dB)", 1),
    "si_sdr_improvement": ("improvement (dB)", 1),
    "sdr": ("SDR (dB)", 1),
    "pesq": ("PESQ", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
    "dnsmos": ("DNSMOS", 2),
}
GROUP_TITLES = {"snr": "input SNR", "kind": "noise"}
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
    _write_text(folder / "table.md", report_markdown(results))
    indices = {name: model_index(results, name) for name in _complete(results) if name != INPUT}
    _write_text(folder / "model-index.json", json.dumps(indices, indent=1) + "\n")
    written = ["table.md", "model-index.json"]
    series, axis = improvement_by_level(results)
    if series:
        save_figure(improvement_figure(series, axis), folder / "improvement.png")
        written.append("improvement.png")
    return written + _draw_spectrograms(results, systems, clips, folder)


# ── Tables ──


def report_markdown(results: dict) -> str:
    """All tables of the results, each under a line that says what it is."""
    dataset, speech = results["dataset"], results["dataset"]["sources"][0]
    title = f"{dataset.get('name', 'dataset')}, {dataset['clips']} clips, {dataset['seconds'] / 60:.1f} minutes"
    parts = [
        f"# {title}",
        f"Scores of the {speech}, mean and its 95 % bootstrap interval:",
        markdown_table(results, statistic="interval"),
        "Median:",
        markdown_table(results, statistic="median"),
    ]
    entries = _complete(results).values()
    for attribute, heading in GROUP_TITLES.items():
        if any(attribute in entry["groups"] for entry in entries):
            parts += [f"Mean by {heading}:", markdown_table(results, by=attribute)]
    for source in dataset["sources"][1:]:
        if any(source in entry["other_sources"] for entry in entries):
            parts += [f"Scores of the {source}, mean:", markdown_table(results, source=source)]
    parts.append(not_scored(results))
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    parts.append(
        f"At {dataset['sampling_rate']} Hz, on {results['hardware']}. Fingerprint of the clips: "
        f"{dataset['fingerprint']}. {versions}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(results: dict, by: str | None = None, statistic: str = "mean", source: str | None = None) -> str:
    r"""
    Args:
        results (`dict`): as [`evaluate`] gives them; systems that are not complete are left out.
        by (`str`, *optional*): `"snr"` or `"kind"`: rows for each group of clips, and at last for all.
        statistic (`str`, *optional*, defaults to `"mean"`): `"mean"`, `"median"`, or `"interval"`: the mean with
            its interval.
        source (`str`, *optional*): whose scores; by default the first one's.

    Returns:
        `str`: the table in Markdown, a row for each system.
    """
    entries = _complete(results)
    if source is not None:
        entries = {name: x["other_sources"][source] for name, x in entries.items() if source in x["other_sources"]}
    metrics = [metric for metric in COLUMNS if any(metric in entry["mean"] for entry in entries.values())]
    titles = [COLUMNS[metric][0] for metric in metrics]
    if "pesq" in metrics:
        titles[metrics.index("pesq")] += "-WB" if results["dataset"]["sampling_rate"] == 16000 else "-NB"
    heading = ["", *titles] if by is None else [GROUP_TITLES[by], "", *titles]
    lines = [f"| {' | '.join(heading)} |".replace("|  |", "| |"), "|" + "---|" * len(heading)]
    for group, members in _rows_of(entries, by):
        for number, (name, statistics) in enumerate(members.items()):
            cells = [name, *(_cell(statistics, statistic, metric) for metric in metrics)]
            if by is not None:
                cells.insert(0, group if number == 0 else "")
            lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def _rows_of(entries: dict, by: str | None) -> Iterator[tuple[str, dict]]:
    """Yields (group, system → statistics)."""
    if by is not None:
        keys = dict.fromkeys(key for entry in entries.values() for key in entry["groups"].get(by, ()))
        for key in keys:
            title = f"{key} dB" if by == "snr" else key
            yield title, {name: x["groups"][by][key] for name, x in entries.items() if key in x["groups"].get(by, ())}
    yield "all", entries


def _cell(statistics: dict, statistic: str, metric: str) -> str:
    digits = COLUMNS[metric][1]
    value = statistics["mean" if statistic == "interval" else statistic].get(metric)
    if value is None:
        return "–"
    if statistic == "interval":
        low, high = statistics["interval"][metric]
        return f"{_rounded(value, digits)} [{_rounded(low, digits)}, {_rounded(high, digits)}]"
    return _rounded(value, digits)


def _rounded(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0


def not_scored(results: dict) -> str:
    """One line for every score that is missing in the means, with the reasons; empty if there is none."""
    lines = []
    for name, entry in _complete(results).items():
        sources = {results["dataset"]["sources"][0]: entry, **entry["other_sources"]}
        for source, statistics in sources.items():
            for metric, reasons in statistics["not_scored"].items():
                counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
                title = COLUMNS[metric][0].removesuffix(" (dB)")
                lines.append(
                    f"- {name}, {title} of the {source}: {sum(reasons.values())} of {statistics['count']} ({counts})"
                )
    return "Clips without a score, left out of the statistics:\n" + "\n".join(lines) if lines else ""


def _complete(results: dict) -> dict[str, dict]:
    """Systems that have scores of all clips; of others an interrupted run is to be finished."""
    return {name: entry for name, entry in results["models"].items() if "mean" in entry}


# ── Improvement over the level of the input ──


def improvement_by_level(results: dict) -> tuple[dict[str, list], str]:
    """Points for [`improvement_figure`] and the title of their axis: input SNR, or the input's SI-SDR in bins."""
    entries = {name: entry for name, entry in _complete(results).items() if name != INPUT}
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

    entries = _complete(results)
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


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
