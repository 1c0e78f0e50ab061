"""Imported by the process of which those that score are forked, and by no other: what they share."""

import importlib
import signal


# An interruption ends it, without a traceback; `start_imports` made it wait. After this it is the parent's to handle.
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

for _module in (
    "dse_hf.evaluation.workers",
    "dse_hf.models.modeling_waveunet",
    "torchmetrics.functional.audio",
    # Of the extras: not always there.
    "pesq",
    "pystoi",
    "librosa.feature.spectral",
    "onnxruntime",
    "speechmos.dnsmos",
):
    try:
        importlib.import_module(_module)
    except ImportError:
        continue
