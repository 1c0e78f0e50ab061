import os


# Nothing in the tests may reach the real Hub; those of the Hub start a local one and processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as dse_hf does, which may be imported later

import pytest
import torch


torch.set_num_threads(1)


@pytest.fixture
def hub(tmp_path):
    """A local Hub, empty."""
    from .hub.local import LocalHub

    with LocalHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def quick_metrics(monkeypatch):
    """All scores but DNSMOS, which takes a second for each clip; the tests of metrics and command line have it."""
    from dse_hf.evaluation.metrics import METRICS

    monkeypatch.delitem(METRICS, "dnsmos")
