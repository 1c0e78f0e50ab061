"""What a trial is, and how to add one.

A module `tests/torture/NAME.py` defines functions that each try one case, and lists them:

    def run_broken_file(case: Case) -> str:
        path = make_broken_file(case.folder, case.rng)  # all random numbers from case.rng, all files in case.folder
        try:
            result = separate_file(model(), path)
        except Exception as error:
            return refusal(error)  # REFUSED, or a Failure if the error is not one readable line
        check(is_right(result), "the sum of the sources is not the input")
        return RIGHT

    TRIALS = [Trial("files", run_broken_file, quick=40)]

and adds NAME to `MODULES` in `__init__.py`. The runner calls the function in a worker process, each time with the next
`case.number` (0, 1, 2, …; `case.pick(LIST)` goes through a list). A case fails if it raises any exception, prints a
traceback, takes too long, uses too much memory, or ends the worker. Then its folder and its error are kept, and
`python -m tests.torture --only NAME --seed SEED --case NUMBER` runs it again. The worker lives on between cases, so
objects that are slow to build, such as models, may be cached (`functools.cache`). Modules import torch and dse_hf at
their top, and Gradio in the functions.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


RIGHT = "right"
REFUSED = "refused"


class Failure(Exception):
    """Something happened that must not happen. The message says what."""


@dataclass
class Case:
    """A case of a trial. The seed of its `rng` depends on the seed of the run, the trial and the number of the case.

    Its folder is empty at first. It is deleted after the case, or kept if the case fails.
    """

    number: int
    rng: np.random.Generator
    folder: Path

    def pick(self, choices: Sequence) -> Any:
        """Returns the choices in turn, one for each case."""
        return choices[self.number % len(choices)]


@dataclass(frozen=True)
class Trial:
    """How a trial is named in the table and for `--only`, and the function that tries one case, with its limits."""

    name: str
    run: Callable[[Case], str]
    quick: int = 0  # cases in `make test`; 0 if a case takes more than a second
    most: int | None = None  # cases after which there is nothing new to try
    seconds: float = 60.0  # after which a case counts as hanging and the worker is killed
    megabytes: int | None = 512  # by how much the memory of the worker, without its children, may grow (Linux)
    share: float = 1.0  # of the time, relative to the other trials


def check(condition: bool, message: str) -> None:
    """Raises a [`Failure`] if the condition is false."""
    if not condition:
        raise Failure(message)


def must_refuse(call: Callable[[], Any], described: str) -> str:
    """Returns `REFUSED` if the call raises an error that is one readable line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:
        return refusal(error)
    raise Failure(f"not refused: {described}")


def refusal(error: BaseException, kind: type[BaseException] | tuple = ValueError) -> str:
    """Returns `REFUSED` if the error is of this kind (an `AudioError` is a `ValueError`) and one readable line."""
    if not isinstance(error, kind):
        raise error
    message = str(error)
    check(bool(message.strip()), f"{type(error).__name__} without a message")
    check(len(message.splitlines()) == 1, f"a message of several lines: {message!r}")
    check(len(message) <= 1000, f"a message of {len(message)} characters: {message[:200]!r}…")
    check(message.isprintable(), f"a message with control characters: {message!r}")
    check("Traceback" not in message and " at 0x" not in message, f"a message with internals: {message!r}")
    return REFUSED
