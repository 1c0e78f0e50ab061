"""Cleans a dataset: opens the source, plans the shards, runs those that are missing, and finishes the target."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..loading import DEFAULT_MODEL, find_model
from .card import dropped_rows, render_card
from .hub_target import HubTarget
from .options import CleaningOptions
from .plan import ModelId, Plan, Work, make_plan
from .shards import ShardReport
from .sources import Source, open_source
from .targets import CARD, DROPPED, FolderTarget, is_hub_name


@dataclass
class Cleaning:
    """A dataset that was cleaned.

    Attributes:
        target (`str`): where it is.
        report (`ShardReport`): what became of all rows.
        shards, resumed (`int`): files of the result, and how many of them an earlier run had made.
        elapsed (`float`): seconds of this run.
        done_rows, done_seconds: rows and seconds of audio that this run cleaned.
    """

    target: str
    report: ShardReport
    shards: int
    resumed: int
    elapsed: float
    done_rows: int
    done_seconds: float


@dataclass
class Progress:
    """How far the cleaning of all shards is.

    Attributes:
        rows, total_rows (`int`): rows that are done, and all.
        new_rows (`int`), seconds (`float`): rows and seconds of audio that this run cleaned.
        elapsed (`float`): seconds since the first row of this run was begun.
    """

    rows: int
    total_rows: int
    new_rows: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def speed(self) -> float:
        """Times real time."""
        return self.seconds / max(self.elapsed, 1e-9)

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, as far as the rows so far tell."""
        return (self.total_rows - self.rows) * self.elapsed / self.new_rows if self.new_rows > 0 else None


def clean_repository(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: str | os.PathLike = DEFAULT_MODEL,
    options: CleaningOptions | None = None,
    *,
    config: list[str] | None = None,
    split: list[str] | None = None,
    revision: str | None = None,
    model_revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    processes: int | None = None,
    engine: str = "local",
    ray_options: dict | None = None,
    shard_rows: int = 1000,
    work_dir: str | None = None,
    commit_seconds: float = 300.0,
    overwrite: bool = False,
    private: bool = False,
    command: str = "",
    begun: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Cleaning:
    r"""
    Cleans the audio of a dataset, and writes it to a folder or to the Hub. Called again after an interruption with the
    same arguments, it goes on with the shards that are missing.

    Args:
        source (`str`): id on the Hub, folder of parquet or audio files, or a place that fsspec reads.
        target (`str`): `owner/name` on the Hub, a folder (`./clean`, `/data/clean`), or a place that fsspec writes to.
        model, model_revision, device, dtype: see [`load_model`].
        options (`CleaningOptions`, *optional*): what to do to each row.
        config, split (`list[str]`, *optional*): what to clean of the source; by default all.
        revision (`str`, *optional*): branch, tag or commit of a source on the Hub.
        processes (`int`, *optional*): by default one for each GPU, or for each processor.
        engine (`str`): `"local"`, or `"ray"` for a cluster, see `ray_options` in `dse_hf.cleaning.ray_engine`.
        shard_rows (`int`): rows of a shard, the smallest piece that is done again after an interruption. A parquet
            file is divided between its row groups only.
        work_dir (`str`, *optional*): where shards wait for their upload; by default in the cache of huggingface_hub.
        commit_seconds (`float`): time between two commits to the Hub.
        overwrite, private (`bool`): replace what a target holds; make a new repository private.
        command (`str`): for the card.
        begun (`Callable`, *optional*): called with a line that says what is done.
        progress (`Callable`, *optional*): called with the [`Progress`].

    Raises:
        ValueError: the source cannot be read, the target cannot be written or holds something else, an option is
            wrong, or a row cannot be cleaned and `strict` is on. The message is one line with the next step.
    """
    options, target = options or CleaningOptions(), os.fspath(target)
    started = time.monotonic()
    _check_scores(options)
    dtype = _definite_dtype(dtype, device, engine, ray_options or {})
    model_id = ModelId.of(find_model(model, model_revision), dtype)
    opened = open_source(source, revision, config, split, shard_rows)
    plan = make_plan(opened, model_id, options, shard_rows)
    place = _open_target(target, opened, overwrite, private, work_dir, commit_seconds)
    reports = place.prepare(plan, opened.restricted)
    work = Work(opened.name, opened.folder, model_id, options, place.output)
    missing = [shard for shard in plan.shards if shard.name not in reports]
    resumed, state = len(reports), Progress(sum(report.rows for report in reports.values()), plan.rows)
    if begun is not None:
        begun(_describe(opened, model_id, plan, resumed))

    def texts(names: Iterable[str], complete: bool) -> dict[str, str]:
        known = [reports[shard.name] for shard in plan.shards if shard.name in reports]
        title = target.rstrip("/").rpartition("/")[2]
        found = {CARD: render_card(title, opened, model_id, plan, options, reports, names, command)}
        if complete and options.min_dnsmos is not None:
            found[DROPPED] = dropped_rows(known)
        return found

    place.begin(texts)
    first = time.monotonic()

    def moved(rows: int, seconds: float) -> None:
        state.rows, state.new_rows, state.seconds = state.rows + rows, state.new_rows + rows, state.seconds + seconds
        state.elapsed = time.monotonic() - first
        if progress is not None:
            progress(replace(state))

    if missing:
        for shard, report in _engine(engine, work, missing, device, processes, ray_options or {}, moved):
            reports[shard.name] = report
            place.add(shard)
    where = place.finish(texts([shard.name for shard in plan.shards], True))
    total = ShardReport()
    for shard in plan.shards:
        total.add(reports[shard.name])
    return Cleaning(where, total, len(plan.shards), resumed, time.monotonic() - started, state.new_rows, state.seconds)


def _engine(engine: str, work: Work, shards: list, device: str, processes, ray_options: dict, moved) -> Any:
    if engine == "ray":
        from .ray_engine import run_on_ray

        return run_on_ray(work, shards, moved, **ray_options)
    if engine != "local":
        raise ValueError(f"engine {engine!r}: give local or ray")
    from .local import devices_for, run_here

    return run_here(work, shards, devices_for(device, processes), moved)


def _check_scores(options: CleaningOptions) -> None:
    import importlib

    from ..evaluation.metrics import METRICS

    for module in METRICS["dnsmos"].modules if options.has_scores else ():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(f"scores need {module}; run: pip install 'dse-hf[dnsmos]'") from error


def _definite_dtype(dtype: str, device: str, engine: str, ray_options: dict) -> str:
    """`"auto"` is another data type on a processor than on a GPU: the fingerprint must tell them apart."""
    if dtype != "auto":
        return dtype
    if engine == "ray":
        return "auto" if ray_options.get("gpus_per_actor") else "float32"
    import torch

    return "auto" if "cuda" in device or (device == "auto" and torch.cuda.is_available()) else "float32"


def _open_target(target: str, source: Source, overwrite: bool, private: bool, work_dir, commit_seconds: float):
    if os.path.realpath(target) == os.path.realpath(source.name) or target == source.name:
        raise ValueError(f"{target}: is the source itself; give another target")
    if not source.on_hub and os.path.realpath(target).startswith(os.path.realpath(source.name) + os.sep):
        raise ValueError(f"{target}: is a part of the source; give a target outside of {source.name}")
    if is_hub_name(target):
        return HubTarget(target, overwrite, private, work_dir, commit_seconds)
    return FolderTarget(target, overwrite)


def _describe(source: Source, model: ModelId, plan: Plan, resumed: int) -> str:
    commit = f", commit {source.revision[:7]}" if source.on_hub else ""
    done = f", {resumed} of them done earlier" if resumed else ""
    return f"{source.name}{commit}: {plan.rows:,} rows in {len(plan.shards):,} shards{done}; model {model.name}"
