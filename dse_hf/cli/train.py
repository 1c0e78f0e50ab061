"""`dse-hf train`: the same as `python -m dse_hf.training.run`."""

from .console import requiring


HELP = "train a model from a recipe (dse-hf train RECIPE; --help lists the options)"


def run(argv: list[str]) -> int:
    with requiring("train"):
        from ..training.run import main

    return main(argv)
