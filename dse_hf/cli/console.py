"""What the commands share: exit statuses, one-line errors, silence of other libraries."""

import contextlib
import signal
import sys
from collections.abc import Iterator

from ..errors import one_line


FAILURE = 1  # exit status
INTERRUPTED = 128 + signal.SIGINT


def complain(error) -> None:
    """One line on stderr."""
    sys.stderr.write(f"dse-hf: {one_line(error)}\n")


@contextlib.contextmanager
def quiet_libraries(bars: bool = False) -> Iterator[None]:
    """Without warnings and bars of transformers and huggingface_hub: what the user has to know is in the exceptions.

    Args:
        bars (`bool`): keep the Hub's bars, for who watches an upload.
    """
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS as never_bars
    from huggingface_hub.utils import enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    verbosity, hub_verbosity = logging.get_verbosity(), hub_logging.get_verbosity()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()  # huggingface_hub's as well
    if bars and not never_bars:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if not never_bars:  # else huggingface_hub warns
            logging.enable_progress_bar()
