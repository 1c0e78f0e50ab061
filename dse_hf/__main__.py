"""`python -m dse_hf` is `dse-hf`."""

import sys

from .cli import main


if __name__ == "__main__":
    sys.exit(main())
