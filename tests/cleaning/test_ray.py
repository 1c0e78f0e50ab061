"""The same dataset on a cluster of two machines, one of which is lost half-way."""

import os
import shutil
import tempfile

import pytest

from dse_hf.cleaning import CleaningOptions, clean_repository

from .datasets import FILES, parquet, tiny_model


os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # read when ray is imported
# A lost machine is noticed within a second.
NOTICED_SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need short paths
    common = {"object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(
        True, head_node_args={**common, "num_cpus": 0, "temp_dir": folder, "_system_config": NOTICED_SOON}
    )
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_a_lost_machine_loses_and_doubles_nothing(cluster, tmp_path):
    import ray

    source, model = tmp_path / "noisy", tiny_model(tmp_path / "model")
    (source / "data").mkdir(parents=True)
    for name, numbers in FILES.items():
        (source / name).write_bytes(parquet(numbers))
    common = {"shard_rows": 50, "options": CleaningOptions(background_column="noise")}
    expected = clean_repository(source, tmp_path / "local", model, processes=1, **common)
    lost = []

    def progress(state):
        if state.rows >= 100 and not lost:
            busy = [node for node in cluster.worker_nodes if node.node_id not in idle_nodes(ray)]
            lost.append(busy[0])
            cluster.remove_node(busy[0], allow_graceful=False)

    options = {"address": cluster.address, "num_actors": 1}
    result = clean_repository(
        source, tmp_path / "ray", model, engine="ray", ray_options=options, progress=progress, **common
    )
    assert lost and (result.report.rows, result.shards) == (300, 8)
    assert vars(result.report) == vars(expected.report)
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_an_address_without_a_cluster(tmp_path):
    source = tmp_path / "noisy" / "train.parquet"
    source.parent.mkdir()
    source.write_bytes(parquet([0]))
    model = tiny_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"Ray at 127\.0\.0\.1:1: does not answer .*; check the address"):
        options = {"address": "127.0.0.1:1"}
        clean_repository(source.parent, tmp_path / "clean", model, engine="ray", ray_options=options)


def idle_nodes(ray) -> list[str]:
    """The ids of the nodes that have a processor to spare."""
    free = ray._private.state.available_resources_per_node()
    return [node for node, resources in free.items() if resources.get("CPU", 0) >= 1]
