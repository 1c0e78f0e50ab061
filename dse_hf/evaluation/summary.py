"""Scores of clips → their mean, median and bootstrap interval, over all clips and over groups of them."""

from collections import Counter

import numpy as np


GROUPED_BY = ("snr", "kind")  # attributes of clips
RESAMPLES = 1000
CONFIDENCE = 0.95


def summarize(records: list[dict], sources: list[str]) -> dict:
    """Summarizes the scores of one system. Missing scores are left out and counted.

    Args:
        records (`list[dict]`): one record for each clip, with `attributes`, `scores` and `not_scored`.
        sources (`list[str]`): the sources. The scores of the first one are the system's.

    Returns:
        `dict`: `count` of clips; `mean`, `median` and `interval` (low and high end, of the mean) by metric;
        `not_scored`: metric → reason → number of clips; `groups`: the same for each SNR and each kind of noise;
        `other_sources`: the same for each other source that the system gives.
    """
    groups = {}
    for attribute in GROUPED_BY:
        members = group_by(records, attribute)
        if members:
            groups[attribute] = {key: _statistics(part, sources[0]) for key, part in members.items()}
    others = {source: _statistics(records, source) for source in sources[1:] if source in records[0]["scores"]}
    return {**_statistics(records, sources[0]), "groups": groups, "other_sources": others}


def group_by(records: list[dict], attribute: str) -> dict[str, list[dict]]:
    """Value of an attribute → its clips, in the order of the values. Clips without the attribute are left out."""
    values = {record["attributes"].get(attribute) for record in records} - {None}
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    return {
        label(value): [record for record in records if record["attributes"].get(attribute) == value]
        for value in ordered
    }


def label(value) -> str:
    """An attribute's value as text, as the results have it: `"5"` for 5.0."""
    return value if isinstance(value, str) else f"{value:g}"


def first_source_scores(record: dict) -> dict:
    """Metric → score of a clip's first source."""
    return next(iter(record["scores"].values()))


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
    """Percentile bootstrap interval of the mean of values (N,), N ≥ 1. Equal values give an equal interval."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[draws].mean(axis=1), (tail, 100 - tail))
    return low, high
