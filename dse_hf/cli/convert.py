"""`dse-hf convert`: a libdse checkpoint → a model folder."""

import argparse

from .console import FAILURE, complain


HELP = "make a model of a libdse checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="state dict of a libdse network (.pth)")
    parser.add_argument("output", metavar="OUT", help="folder of the model to make")
    parser.add_argument("--sampling-rate", type=int, help="of its audio, in Hz (default: libdse's)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder, if it is a model")


def run(args: argparse.Namespace) -> int:
    from ..convert import convert_checkpoint

    try:
        convert_checkpoint(args.checkpoint, args.output, sampling_rate=args.sampling_rate, overwrite=args.overwrite)
    except (ValueError, OSError) as error:
        complain(error)
        return FAILURE
    print(f"{args.output}: a model for dse-hf separate --model {args.output}")
    return 0
