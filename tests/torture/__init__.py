"""What tries hard to break dse-hf: `python -m tests.torture --minutes 10`. How to add a trial: see `trials.py`."""

import importlib

from .trials import Trial


# Each has a constant TRIALS, a list of `Trial`. A new module is added here, and is then part of every run.
MODULES = ("files", "arrays", "configs", "models", "long", "faults", "hub", "space")


def all_trials() -> dict[str, Trial]:
    """The trials of all modules, by name."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in MODULES]
    return {trial.name: trial for module in modules for trial in module.TRIALS}
