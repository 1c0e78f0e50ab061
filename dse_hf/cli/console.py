"""What the commands share: exit statuses, one-line errors, and silence of other libraries."""

import contextlib
import signal
import sys
from collections.abc import Generator

from ..errors import one_line


FAILURE = 1  # exit status
INTERRUPTED = 128 + signal.SIGINT


def complain(error) -> None:
    """Writes an error to stderr, in one line."""
    sys.stderr.write(f"dse-hf: {one_line(error)}\n")


@contextlib.contextmanager
def requiring(extra: str) -> Generator[None]:
    """Replaces an ImportError by a ValueError that says how to install these optional dependencies."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{extra}: {one_line(error)}; run: pip install 'dse-hf[{extra}]'") from error


@contextlib.contextmanager
def quiet_libraries(bars: bool = False) -> Generator[None]:
    """Suppresses the warnings and progress bars of transformers and huggingface_hub. Their exceptions tell enough.

    `bars` keeps the progress bars of huggingface_hub, for a user who watches an upload.
    """
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS as never_bars
    from huggingface_hub.utils import enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    verbosity, hub_verbosity = logging.get_verbosity(), hub_logging.get_verbosity()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()  # also disables those of huggingface_hub
    if bars and not never_bars:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if not never_bars:  # otherwise huggingface_hub would warn
            logging.enable_progress_bar()
