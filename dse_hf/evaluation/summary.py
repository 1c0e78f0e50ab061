"""Scores of clips → what they come to: mean, median and a bootstrap interval, in all and per group of clips."""

from collections import Counter

import numpy as np


GROUPED_BY = ("snr", "kind")  # attributes of a clip
RESAMPLES = 1000
CONFIDENCE = 0.95


def summarize(records: list[dict], sources: list[str]) -> dict:
    r"""
    What the scores of one system come to. Scores that could not be given are left out, and counted.

    Args:
        records (`list[dict]`): of every clip, with `attributes`, `scores` and `not_scored`.
        sources (`list[str]`): the first one's scores are the system's; the others' are given beside them.

    Returns:
        `dict`: `count` of clips; `mean`, `median` and `interval` (of the mean; low and high end) by metric;
        `not_scored`: metric → reason → number of clips; `groups`: the same again for each SNR and each kind of
        noise; `other_sources`: the same for each of them, as far as the system gives it.
    """
    groups = {}
    for attribute in GROUPED_BY:
        members = group_by(records, attribute)
        if members:
            groups[attribute] = {key: _statistics(part, sources[0]) for key, part in members.items()}
    others = {source: _statistics(records, source) for source in sources[1:] if source in records[0]["scores"]}
    return {**_statistics(records, sources[0]), "groups": groups, "other_sources": others}


def group_by(records: list[dict], attribute: str) -> dict[str, list[dict]]:
    """The clips of each value of an attribute, in the order of the values; without those that have none."""
    values = {record["attributes"].get(attribute) for record in records} - {None}
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    return {
        label(value): [record for record in records if record["attributes"].get(attribute) == value]
        for value in ordered
    }


def label(value) -> str:
    """An attribute's value, as the results have it: `"5"` of 5.0."""
    return value if isinstance(value, str) else f"{value:g}"


def _statistics(records: list[dict], source: str) -> dict:
    scores = [record["scores"][source] for record in records]
    statistics: dict = {"count": len(records), "mean": {}, "median": {}, "interval": {}, "not_scored": {}}
    for metric in scores[0]:
        values = np.array([score[metric] for score in scores if score[metric] is not None])
        reasons = Counter(
            record["not_scored"][source][metric] for record in records if record["scores"][source][metric] is None
        )
        if reasons:
            statistics["not_scored"][metric] = dict(reasons)
        for name, calculate in (("mean", np.mean), ("median", np.median), ("interval", bootstrap_interval)):
            statistics[name][metric] = np.round(calculate(values), 4).tolist() if len(values) else None
    return statistics


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (N,), N ≥ 1, the same one every time."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[draws].mean(axis=1), (tail, 100 - tail))
    return low, high
