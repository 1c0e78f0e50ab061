"""Results of an evaluation → tables in Markdown."""

from collections.abc import Iterator

import numpy as np

from .summary import bootstrap_interval


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
        *_differences(results),
    ]
    entries = complete(results).values()
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
    entries = complete(results)
    if source is not None:
        entries = {name: x["other_sources"][source] for name, x in entries.items() if source in x["other_sources"]}
    metrics = [metric for metric in COLUMNS if any(metric in entry["mean"] for entry in entries.values())]
    titles = _titles(results, metrics)
    heading = ["", *titles] if by is None else [GROUP_TITLES[by], "", *titles]
    lines = [f"| {' | '.join(heading)} |".replace("|  |", "| |"), "|" + "---|" * len(heading)]
    for group, members in _rows_of(entries, by):
        for number, (name, statistics) in enumerate(members.items()):
            cells = [name, *(_cell(statistics, statistic, metric) for metric in metrics)]
            if by is not None:
                cells.insert(0, group if number == 0 else "")
            lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def _titles(results: dict, metrics: list[str]) -> list[str]:
    band = "-WB" if results["dataset"]["sampling_rate"] == 16000 else "-NB"
    return [COLUMNS[metric][0] + (band if metric == "pesq" else "") for metric in metrics]


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


def _rounded(value: float, digits: int, sign: str = "") -> str:
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # no -0.0


def _differences(results: dict) -> list[str]:
    entries = complete(results)
    if len(entries) < 2:
        return []
    intro = "is ahead of the others (less than 0: behind), clip by clip, mean and its 95 % bootstrap interval:"
    return [f"How far {list(entries)[-1]} {intro}", difference_table(results)]


def difference_table(results: dict) -> str:
    """
    How far the last system is ahead of each other one, in Markdown: the mean over the clips of the differences, which
    vary less than the scores do, and its 95 % bootstrap interval. Clips without a score of either are left out.

    Args:
        results (`dict`): as [`evaluate`] gives them, with at least two systems that are complete.
    """
    *others, (_, last) = complete(results).items()
    metrics = [name for name in COLUMNS if name in last["mean"] and name != "si_sdr_improvement"]  # as SI-SDR
    lines = [f"| ahead of | {' | '.join(_titles(results, metrics))} |", "|" + "---|" * (1 + len(metrics))]
    for name, entry in others:
        cells = (_difference(entry, last, metric) for metric in metrics)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(entry: dict, last: dict, metric: str) -> str:
    scores = [
        {record["name"]: next(iter(record["scores"].values())).get(metric) for record in x["clips"]}
        for x in (entry, last)
    ]
    pairs = [(theirs, scores[1].get(clip)) for clip, theirs in scores[0].items()]
    differences = np.array([ours - theirs for theirs, ours in pairs if theirs is not None and ours is not None])
    if not len(differences):
        return "–"
    digits = COLUMNS[metric][1] + 1
    mean, low, high = (_rounded(float(x), digits, "+") for x in (differences.mean(), *bootstrap_interval(differences)))
    return f"{mean} [{low}, {high}]"


def not_scored(results: dict) -> str:
    """One line for every score that is missing in the means, with the reasons; empty if there is none."""
    lines = []
    for name, entry in complete(results).items():
        sources = {results["dataset"]["sources"][0]: entry, **entry["other_sources"]}
        for source, statistics in sources.items():
            for metric, reasons in statistics["not_scored"].items():
                counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
                title = COLUMNS[metric][0].removesuffix(" (dB)")
                lines.append(
                    f"- {name}, {title} of the {source}: {sum(reasons.values())} of {statistics['count']} ({counts})"
                )
    return "Clips without a score, left out of the statistics:\n" + "\n".join(lines) if lines else ""


def complete(results: dict) -> dict[str, dict]:
    """Systems that have scores of all clips; of others an interrupted run is to be finished."""
    return {name: entry for name, entry in results["models"].items() if "mean" in entry}
