"""How the options of a training run are declared: their help texts, their ranges and their former names."""

import functools
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from transformers.utils import logging


logger = logging.get_logger(__name__)

# Former name → present name. Former names work on the command line, in recipes and as arguments in Python.
RENAMED_OPTIONS = {
    "speaker_balance": "speaker_balancing",
    "background_exchanges": "noise_swaps",
}


class Range(NamedTuple):
    """A range of numbers: its words for messages, and whether a number is in it."""

    words: str
    has: Callable[[float], bool]


# Types of options with a range. HfArgumentParser takes them as plain numbers.
Share = Annotated[float, Range("from 0 to 1", lambda value: 0 <= value <= 1)]
Positive = Annotated[float, Range("above 0", lambda value: value > 0)]
Count = Annotated[int, Range("above 0", lambda value: value > 0)]
NotNegative = Annotated[float, Range("0 or above", lambda value: value >= 0)]
AboveOne = Annotated[float, Range("above 1", lambda value: value > 1)]
T = TypeVar("T")


def option(default: Any, help: str) -> Any:
    """Returns a dataclass field with a help text. A default that is a list is copied for each instance."""
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": help})
    return field(default=default, metadata={"help": help})


class OptionGroup:
    """A dataclass of options. It checks the ranges of their types, and that no `<name>_low` is above `<name>_high`."""

    def __post_init__(self):
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if get_origin(hint) is Annotated and not hint.__metadata__[0].has(value):
                raise ValueError(f"{name}={value}: must be {hint.__metadata__[0].words}")
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise ValueError(f"{name}={value!r}: choose among {', '.join(get_args(hint))}")
            high = name.removesuffix("_low") + "_high"
            if name.endswith("_low") and value > getattr(self, high):
                raise ValueError(f"{name}={value}: must not exceed {high}={getattr(self, high)}")

    def check_sum(self, *names: str) -> None:
        """Raises ValueError if shares of one whole exceed 1 together."""
        if sum(getattr(self, name) for name in names) > 1:
            given = " and ".join(f"{name}={getattr(self, name)}" for name in names)
            raise ValueError(f"{given}: must not exceed 1 together")


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

    cls.__init__ = __init__  # type: ignore[method-assign]
    return cls
