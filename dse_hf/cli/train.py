"""`dse-hf train`: the same as `python -m dse_hf.training.run`."""

from .console import FAILURE, complain


HELP = "train a model by a recipe (dse-hf train RECIPE; --help for its options)"


def run(argv: list[str]) -> int:
    try:
        from ..training.run import main
    except ImportError as error:
        complain(f"train: {error}; run: pip install 'dse-hf[train]'")
        return FAILURE
    return main(argv)
