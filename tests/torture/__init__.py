"""Trials that try to break dse-hf: `python -m tests.torture --minutes 10`. `trials.py` says how to add one."""

import importlib

from .trials import Trial


# Every module has a list TRIALS. A new module is added here.
MODULES = ("files", "arrays", "configs", "models", "long", "faults", "hub", "space")


def all_trials() -> dict[str, Trial]:
    """Name → trial, for the trials of all modules."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in MODULES]
    return {trial.name: trial for module in modules for trial in module.TRIALS}
