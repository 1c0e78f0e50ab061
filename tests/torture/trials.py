"""What a trial is.

A module `tests/torture/NAME.py` defines functions of one case, and lists them:

    def run_broken_file(case: Case) -> str:
        path = make_broken_file(case.folder, case.rng)  # everything random from case.rng, every file in case.folder
        try:
            result = separate_file(model(), path)
        except Exception as error:
            return refusal(error)  # REFUSED, or a Failure if the error is not one clean line
        check(is_right(result), "the sum of the sources is not the input")
        return RIGHT

    TRIALS = [Trial("files", run_broken_file, quick=40)]

and adds NAME to `MODULES` in `__init__.py`. The runner calls the function again and again, each time with the next
`case.number` (0, 1, 2, …; go through a list of cases with `case.pick(LIST)`), in a worker process. A case fails if it
raises anything, prints a traceback, takes too long, grows too large, or takes the worker down: then its folder and its
error are kept, and `python -m tests.torture --only NAME --seed SEED --case NUMBER` runs it again. Models and the like
that are slow to make may be kept in a cached function (`functools.cache`): the worker lives on. Imports of torch and
dse_hf go at the top of the module, those of Gradio into the functions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


RIGHT = "right"
REFUSED = "refused"


class Failure(Exception):
    """What must not happen has happened; the message says what."""


@dataclass
class Case:
    """
    Args:
        number (`int`): 0, 1, 2, … in each trial.
        rng (`np.random.Generator`): of the run's seed, the trial's name and the number; the only source of chance.
        folder (`Path`): empty, for this case alone; deleted after it, or kept if it fails.
    """

    number: int
    rng: np.random.Generator
    folder: Path

    def pick(self, choices: Sequence) -> Any:
        """Goes through the choices in turn, case by case."""
        return choices[self.number % len(choices)]


@dataclass(frozen=True)
class Trial:
    """
    Args:
        name (`str`): for the table and for `--only`.
        run (`Callable[[Case], str]`): tries one case; returns `RIGHT` or `REFUSED`, or raises.
        quick (`int`): cases of it in `make test`; 0 where one takes more than a second.
        most (`int`, *optional*): cases after which there is nothing new to try; by default time is the limit.
        seconds (`float`): time after which a case counts as hanging, and the worker is killed.
        megabytes (`int`, *optional*): by which the worker's resident memory may grow in a case (on Linux; processes
            that the case starts do not count); `None` sets no limit.
        share (`float`): of the run's time, in proportion to those of the other trials.
    """

    name: str
    run: Callable[[Case], str]
    quick: int = 0
    most: int | None = None
    seconds: float = 60.0
    megabytes: int | None = 512
    share: float = 1.0


def check(condition: bool, message: str) -> None:
    """Raises a [`Failure`] where the condition does not hold."""
    if not condition:
        raise Failure(message)


def refusal(error: BaseException, kind: type[BaseException] | tuple = ValueError) -> str:
    """`REFUSED` for an error of this kind (an `AudioError` is a `ValueError`) whose message is one readable line."""
    if not isinstance(error, kind):
        raise error
    message = str(error)
    check(bool(message.strip()), f"{type(error).__name__} without a message")
    check(len(message.splitlines()) == 1, f"a message of several lines: {message!r}")
    check(len(message) <= 1000, f"a message of {len(message)} characters: {message[:200]!r}…")
    check(message.isprintable(), f"a message with control characters: {message!r}")
    check("Traceback" not in message and " at 0x" not in message, f"a message from the inside: {message!r}")
    return REFUSED
