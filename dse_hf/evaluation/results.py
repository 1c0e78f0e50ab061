"""The file of results, with which an interrupted run continues."""

import contextlib
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

from transformers.utils import logging

from .. import __version__
from ..files import write_text
from .metrics import METRICS
from .peers import PEERS
from .summary import first_source_scores, summarize
from .systems import System


logger = logging.get_logger(__name__)

RESULTS = "results.json"
SAVE_SECONDS = 10.0  # between two writes of the file


class ResultsFile:
    """The results in the file `path`, to which the scores of this run are added. `dataset` has the clips' `names`.

    Raises:
        ValueError: the file is damaged, or has scores of other clips.
    """

    def __init__(self, path: Path, dataset: dict, metrics: list[str]):
        self.path, self.metrics = path, metrics
        self.order = {name: position for position, name in enumerate(dataset.pop("names"))}
        self.models: dict[str, dict] = {}
        self.saved_at, self.changed = time.monotonic(), False
        self.recorded = self._read()
        if self.recorded is not None:
            other = self.recorded["dataset"]
            if other["fingerprint"] != dataset["fingerprint"]:
                raise ValueError(
                    f"{path}: has scores on other clips ({other['clips']} with fingerprint {other['fingerprint']}; "
                    f"these are {dataset['clips']} with {dataset['fingerprint']}); give another output folder"
                )
            self.models = self.recorded["models"]
        self.header = {
            "config": {"metrics": metrics, "speech_metrics_of": dataset["sources"][0]},
            "dataset": dataset,
            "versions": _versions(),
            "hardware": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        }

    def _read(self) -> dict | None:
        if not self.path.exists():
            return None
        try:
            recorded = json.loads(self.path.read_text(encoding="utf-8"))
            for key in ("models", "versions", "hardware"):
                recorded[key]
            recorded["dataset"]["fingerprint"], recorded["dataset"]["clips"]
            return recorded
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.path}: is damaged, or no results; delete it, or give another folder") from error

    def prepare(self, systems: list[System]) -> dict[str, set[str]]:
        """Returns for each system the names of the clips that are still to be scored, and drops outdated scores."""
        missing = {}
        for system in systems:
            entry = self.models.get(system.name)
            if entry is not None and entry["version"] != system.version:
                logger.warning(
                    f"model {system.name!r}: has changed since it was scored; its scores are computed again"
                )
                entry = None
            # A package may have been installed since, which adds a metric.
            known = entry["clips"] if entry else []
            kept = [record for record in known if set(self.metrics) == set(first_source_scores(record))]
            missing[system.name] = set(self.order) - {record["name"] for record in kept}
            if missing[system.name]:
                self.models[system.name] = {"version": system.version, "clips": kept}
        if self.recorded and not any(missing.values()):  # today's versions computed none
            self.header.update((key, self.recorded[key]) for key in ("versions", "hardware"))
        return missing

    def add(self, name: str, record: dict) -> None:
        self.models[name]["clips"].append(record)
        self.changed = True
        if time.monotonic() - self.saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Writes the scores so far."""
        if self.changed:
            self._write({"models": self.models, **self.header})

    def finish(self) -> dict:
        """Adds the statistics of every system that has all scores. Writes and returns the results."""
        for name, entry in self.models.items():
            records = sorted(entry["clips"], key=lambda record: self.order[record["name"]])
            if len(records) == len(self.order):
                summary = summarize(records, self.header["dataset"]["sources"])
                self.models[name] = {"version": entry["version"], **summary, "clips": records}
        results = {"models": self.models, **self.header}
        self._write(results)
        return results

    def _write(self, results: dict) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, _as_json(results, levels=4) + "\n")  # one line for each clip
        self.saved_at, self.changed = time.monotonic(), False


def _as_json(value, levels: int, margin: str = "\n") -> str:
    """The value as JSON, of which the outer `levels` have a line for each item."""
    if levels == 0 or not value or not isinstance(value, (dict, list)):
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    inner = margin + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_as_json(item, levels - 1, inner)}" for key, item in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{margin}}}"
    return f"[{inner}{f',{inner}'.join(_as_json(item, levels - 1, inner) for item in value)}{margin}]"


def _versions() -> dict[str, str]:
    """Versions of the installed packages on which scores depend."""
    scoring = [package for metric in METRICS.values() for package in metric.packages]
    versions = {"dse-hf": __version__, "python": platform.python_version()}
    for package in ["torch", "transformers", "numpy", "soxr", *scoring, *(peer.package for peer in PEERS.values())]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
