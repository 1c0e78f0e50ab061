"""How the options of a training run are declared: their help texts, their checks and their former names."""

import functools
from collections.abc import Callable
from dataclasses import field
from typing import Any, TypeVar

from transformers.utils import logging


logger = logging.get_logger(__name__)

# Former name → present name. Former names work on the command line, in recipes and as arguments in Python.
RENAMED_OPTIONS = {
    "speaker_balance": "speaker_balancing",
    "background_exchanges": "noise_swaps",
}

T = TypeVar("T")


def option(default: Any, help: str) -> Any:
    """Returns a dataclass field with a help text. A default that is a list is copied for each instance."""
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": help})
    return field(default=default, metadata={"help": help})


def check(arguments, names: str, is_valid: Callable[[Any], bool], rule: str) -> None:
    """Raises ValueError if one of several options (names with spaces between them) does not follow the rule."""
    for name in names.split():
        if not is_valid(getattr(arguments, name)):
            raise ValueError(f"{name}={getattr(arguments, name)!r}: must be {rule}")


def check_shares(arguments, names: str) -> None:
    """Raises ValueError if shares of one whole are not from 0 to 1, each and together."""
    check(arguments, names, lambda share: 0 <= share <= 1, "from 0 to 1")
    if sum(getattr(arguments, name) for name in names.split()) > 1:
        given = " and ".join(f"{name}={getattr(arguments, name)}" for name in names.split())
        raise ValueError(f"{given}: must not exceed 1 together")


def check_order(arguments, low: str, high: str) -> None:
    """Raises ValueError if the low end of a range is above the high end."""
    check(
        arguments, low, lambda value: value <= getattr(arguments, high), f"at most {high}={getattr(arguments, high)}"
    )


def present_name(name: str) -> str:
    """Returns the present name of an option, and warns if `name` is a former one."""
    if name in RENAMED_OPTIONS:
        logger.warning(f"{name} is now called {RENAMED_OPTIONS[name]}; please use the new name")
    return RENAMED_OPTIONS.get(name, name)


def accept_former_names(cls: type[T]) -> type[T]:
    """Lets the constructor of a dataclass of options take former names, too."""
    initialize = cls.__init__

    @functools.wraps(initialize)
    def __init__(self, *args, **kwargs):
        for name in RENAMED_OPTIONS.keys() & kwargs:
            kwargs[present_name(name)] = kwargs.pop(name)
        initialize(self, *args, **kwargs)

    cls.__init__ = __init__
    return cls
