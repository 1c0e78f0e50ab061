"""Cleans shards on a cluster: Ray Data hands them to a pool of actors with one model each.

If a machine is lost, Ray gives its shards to other actors. A shard that is written twice is written with equal content
to the same place.
"""

import logging
import os
import pickle
import re
import socket
from collections.abc import Callable, Iterator, Sequence

from ..errors import one_line
from .plan import Shard, Work
from .shards import ShardCleaner, ShardReport


def run_on_ray(
    work: Work,
    shards: Sequence[Shard],
    progress: Callable[[int, float], None],
    *,
    address: str | None = None,
    num_actors: int | None = None,
    cpus_per_actor: float = 1.0,
    gpus_per_actor: float = 0.0,
) -> Iterator[tuple[Shard, ShardReport]]:
    """Cleans shards, and yields each with its report when it is written, in any order.

    Args:
        work, shards, progress: see `run_here`. All machines must have dse-hf, the model and `work.output`.
        address (`str`, *optional*): of the cluster, such as `"auto"` or `"ray://host:10001"`; by default that of the
            variable `RAY_ADDRESS`, or a new one on this machine.
        num_actors (`int`, *optional*): actors; by default as many as the cluster has room for.
        cpus_per_actor, gpus_per_actor (`float`): what each actor has for itself. With a GPU, the model runs there.

    Raises:
        ValueError: Ray is not installed or cannot be reached, or see [`ShardCleaner`].
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # reports to its makers, unless the user wants them
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise ValueError(f"engine ray: {one_line(error)}; run: pip install 'dse-hf[cluster]'") from error
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        room = _room(ray, cpus_per_actor, gpus_per_actor)
        tasks = [{"number": number, "shard": pickle.dumps(shard)} for number, shard in enumerate(shards)]
        reports = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            _Actor,
            fn_constructor_args=(work, int(cpus_per_actor), bool(gpus_per_actor)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=max(1, min(num_actors or room, len(shards)))),
            num_cpus=cpus_per_actor,
            num_gpus=gpus_per_actor,
        )
        for row in reports.iter_rows():
            report = ShardReport.from_json(row["report"])
            progress(report.rows, report.seconds)
            yield shards[row["number"]], report
    except ray.exceptions.RayError as error:
        raise ValueError(_reason(error)) from error
    finally:
        if started:
            ray.shutdown()


def _connect(ray, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address and (match := re.fullmatch(r"(?:ray://)?([\w.-]+):(\d+)", address)):
            socket.create_connection((match[1], int(match[2])), timeout=10).close()  # Ray would try for minutes
        ray.init(address=address, log_to_driver=False, include_dashboard=None if address else False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"Ray at {address or 'this machine'}: does not answer ({one_line(error, most=200)}); check the address"
        ) from error


def _room(ray, cpus: float, gpus: float) -> int:
    """How many actors fit into the cluster."""
    there = ray.cluster_resources()
    needs = [(there.get("CPU", 0), cpus), (there.get("GPU", 0), gpus)]
    room = min((int(have / need) for have, need in needs if need), default=1)
    if room < 1:
        raise ValueError(f"no machine of the cluster has {cpus:g} CPUs and {gpus:g} GPUs; give less for an actor")
    return room


def _reason(error: BaseException) -> str:
    """What our own code said, which Ray wraps in its own errors with tracebacks."""
    while (cause := getattr(error, "cause", None) or error.__cause__) is not None:
        error = cause
    return one_line(error, most=400)


class _Actor:
    """Cleans the shards that it is sent."""

    def __init__(self, work: Work, threads: int, on_gpu: bool):
        import torch

        torch.set_num_threads(max(1, threads))
        self.clean = ShardCleaner(work, "cuda" if on_gpu else "cpu")

    def __call__(self, batch: dict) -> dict:
        reports = [self.clean(pickle.loads(shard)).to_json() for shard in batch["shard"]]
        return {"number": batch["number"], "report": reports}
