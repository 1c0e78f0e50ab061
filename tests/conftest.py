import os


# Nothing in the tests may reach the real Hub; those of the Hub start a local one and processes of their own.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch


torch.set_num_threads(1)


@pytest.fixture
def hub(tmp_path):
    """A local Hub, empty."""
    from .hub import LocalHub

    with LocalHub(tmp_path / "hub") as hub:
        yield hub
