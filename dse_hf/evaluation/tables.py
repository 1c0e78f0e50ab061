"""Results of an evaluation → tables in Markdown."""

from collections.abc import Iterable, Iterator

import numpy as np

from .metrics import METRICS
from .summary import bootstrap_interval, first_source_scores


GROUP_TITLES = {"snr": "input SNR", "kind": "noise"}


def report_markdown(results: dict) -> str:
    """All tables of the results. A line above each table says what it shows."""
    dataset, speech = results["dataset"], results["dataset"]["sources"][0]
    entries = finished_systems(results)
    parts = [
        f"# {describe_dataset(results)}",
        f"Scores of the {speech}, mean and its 95 % bootstrap interval:",
        markdown_table(results, statistic="interval"),
        "Median:",
        markdown_table(results, statistic="median"),
    ]
    if len(entries) > 1:
        parts += [
            f"How far {list(entries)[-1]} is ahead of the others (less than 0: behind), clip by clip, mean and its "
            "95 % bootstrap interval:",
            difference_table(results),
        ]
    for attribute, heading in GROUP_TITLES.items():
        if any(attribute in entry["groups"] for entry in entries.values()):
            parts += [f"Mean by {heading}:", markdown_table(results, by=attribute)]
    for source in dataset["sources"][1:]:
        if any(source in entry["other_sources"] for entry in entries.values()):
            parts += [f"Scores of the {source}, mean:", markdown_table(results, source=source)]
    parts.append(not_scored(results))
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    parts.append(
        f"At {dataset['sampling_rate']} Hz, on {results['hardware']}. Fingerprint of the clips: "
        f"{dataset['fingerprint']}. {versions}."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def dataset_name(results: dict) -> str:
    return str(results["dataset"].get("name", "dataset"))


def describe_dataset(results: dict) -> str:
    """Name, number of clips and length of the dataset."""
    dataset = results["dataset"]
    return f"{dataset_name(results)}, {dataset['clips']} clips, {dataset['seconds'] / 60:.1f} minutes"


def finished_systems(results: dict) -> dict[str, dict]:
    """The systems that have scores of all clips. An interrupted run leaves others unfinished."""
    return {name: entry for name, entry in results["models"].items() if "mean" in entry}


def markdown_table(results: dict, by: str | None = None, statistic: str = "mean", source: str | None = None) -> str:
    """The table of the results of [`evaluate`] in Markdown, with a row for each finished system.

    Args:
        by (`str`, *optional*): `"snr"` or `"kind"`: rows for each group of clips, and then for all clips.
        statistic (`str`, *optional*): `"mean"`, `"median"`, or `"interval"`: the mean with its interval.
        source (`str`, *optional*): the source whose scores are shown; by default the first one.
    """
    entries = finished_systems(results)
    if source is not None:
        entries = {name: x["other_sources"][source] for name, x in entries.items() if source in x["other_sources"]}
    metrics = [metric for metric in METRICS if any(metric in entry["mean"] for entry in entries.values())]
    rows = []
    for group, members in _groups(entries, by):
        for name, statistics in members.items():
            rows.append([group, name, *(_cell(statistics, statistic, metric) for metric in metrics)])
            group = ""  # only in the first of its rows
    heading = [GROUP_TITLES.get(by or "", ""), "", *_headings(results, metrics)]
    return format_table(*(row if by else row[1:] for row in (heading, *rows)))


def format_table(heading: list[str], *rows: list[str]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (heading, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heading), *lines[1:]])


def round_score(metric: str, value: float, extra_digits: int = 0, sign: str = "") -> str:
    """The score with the metric's number of digits, never as -0; `sign="+"` writes a sign always."""
    digits = METRICS[metric].digits + extra_digits
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def _headings(results: dict, metrics: Iterable[str]) -> list[str]:
    return [METRICS[metric].heading(results["dataset"]["sampling_rate"]) for metric in metrics]


def _groups(entries: dict, by: str | None) -> Iterator[tuple[str, dict]]:
    """Yields the title of each group of clips, and system → statistics."""
    if by is not None:
        for key in dict.fromkeys(key for entry in entries.values() for key in entry["groups"].get(by, ())):
            title = f"{key} dB" if by == "snr" else key
            yield title, {name: x["groups"][by][key] for name, x in entries.items() if key in x["groups"].get(by, ())}
    yield "all", entries


def _cell(statistics: dict, statistic: str, metric: str) -> str:
    value = statistics["mean" if statistic == "interval" else statistic].get(metric)
    if value is None:
        return "–"
    if statistic == "interval":
        low, high = (round_score(metric, end) for end in statistics["interval"][metric])
        return f"{round_score(metric, value)} [{low}, {high}]"
    return round_score(metric, value)


def difference_table(results: dict) -> str:
    """How far the last of at least two finished systems is ahead of each other system, in Markdown.

    Cells have the mean of the differences clip by clip, which vary less than the scores do, and its 95 % bootstrap
    interval. Clips without a score of both are left out.
    """
    *others, (_, last) = finished_systems(results).items()
    metrics = [name for name in METRICS if name in last["mean"] and name != "si_sdr_improvement"]  # same as SI-SDR's
    rows = [[name, *(_difference(entry, last, metric) for metric in metrics)] for name, entry in others]
    return format_table(["ahead of", *_headings(results, metrics)], *rows)


def _difference(entry: dict, last: dict, metric: str) -> str:
    theirs, ours = (
        {record["name"]: first_source_scores(record).get(metric) for record in x["clips"]} for x in (entry, last)
    )
    both = [clip for clip, score in theirs.items() if score is not None and ours.get(clip) is not None]
    if not both:
        return "–"
    gains = [ours[clip] - theirs[clip] for clip in both]  # pyrefly: ignore[unsupported-operation]  # both are scored
    ahead = np.array(gains) * (1 if METRICS[metric].more_is_better else -1)
    mean, low, high = (
        round_score(metric, float(x), extra_digits=1, sign="+") for x in (ahead.mean(), *bootstrap_interval(ahead))
    )
    return f"{mean} [{low}, {high}]"


def not_scored(results: dict) -> str:
    """A line for every system, source and metric that lack scores, with the reasons; empty if nothing is missing."""
    lines = []
    for name, entry in finished_systems(results).items():
        sources = {results["dataset"]["sources"][0]: entry, **entry["other_sources"]}
        for source, statistics in sources.items():
            for metric, reasons in statistics["not_scored"].items():
                counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
                missing = f"{sum(reasons.values())} of {statistics['count']} ({counts})"
                lines.append(f"- {name}, {METRICS[metric].title} of the {source}: {missing}")
    return "Clips without a score, left out of the statistics:\n" + "\n".join(lines) if lines else ""
