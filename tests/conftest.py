import os


# No test may reach the real Hub. The Hub's tests start a local one, and use it from processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # dse_hf sets it too, but other tests may import it later

import pytest
import torch


torch.set_num_threads(1)


@pytest.fixture
def hub(tmp_path):
    """An empty local Hub."""
    from .hub.local import LocalHub

    with LocalHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def quick_metrics(monkeypatch):
    """All metrics except DNSMOS, which takes a second per clip; the tests of metrics and command line use it."""
    from dse_hf.evaluation.metrics import METRICS

    monkeypatch.delitem(METRICS, "dnsmos")
