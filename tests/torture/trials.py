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
    """
    Args:
        number (`int`): 0, 1, 2, … in each trial.
        rng (`np.random.Generator`): the source of all random numbers. Its seed consists of the seed of the run, the
            name of the trial and the number of the case.
        folder (`Path`): an empty folder for this case. It is deleted after the case, or kept if the case fails.
    """

    number: int
    rng: np.random.Generator
    folder: Path

    def pick(self, choices: Sequence) -> Any:
        """Returns the choices in turn, one for each case."""
        return choices[self.number % len(choices)]


@dataclass(frozen=True)
class Trial:
    """
    Args:
        name (`str`): the name in the table and for `--only`.
        run (`Callable[[Case], str]`): tries one case. It returns `RIGHT` or `REFUSED`, or raises an exception.
        quick (`int`): the number of cases in `make test`; 0 if a case takes more than a second.
        most (`int`, *optional*): the number of cases after which there is nothing new to try; no limit by default.
        seconds (`float`): the time after which a case counts as hanging and the worker is killed.
        megabytes (`int`, *optional*): by how much the resident memory of the worker may grow in a case, on Linux.
            Processes that the case starts do not count. `None` sets no limit.
        share (`float`): the share of the time, relative to the other trials.
    """

    name: str
    run: Callable[[Case], str]
    quick: int = 0
    most: int | None = None
    seconds: float = 60.0
    megabytes: int | None = 512
    share: float = 1.0


def check(condition: bool, message: str) -> None:
    """Raises a [`Failure`] if the condition is false."""
    if not condition:
        raise Failure(message)


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
