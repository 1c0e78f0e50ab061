"""Imports what all scoring processes need. Only the process of which they are forked imports this module."""

import importlib
import signal


# An interruption ends this process without a traceback. `start_imports` has blocked the signal until here.
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

from .metrics import METRICS  # noqa: E402


for _module in (
    "dse_hf.evaluation.workers",
    "dse_hf.models.modeling_waveunet",
    *(module for metric in METRICS.values() for module in metric.modules),
):
    try:
        importlib.import_module(_module)
    except ImportError:  # the module is in an extra that is not installed
        continue
