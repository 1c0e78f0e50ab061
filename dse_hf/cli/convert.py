"""`dse-hf convert`: converts a checkpoint of libdse to a model folder."""

import argparse


HELP = "convert a checkpoint of libdse to a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", help="file with the state dict of a libdse network (.pth)")
    add("output", metavar="OUT", help="folder of the model to create")
    add("--sampling-rate", type=int, help="sampling rate of the model's audio in Hz (default: that of libdse)")
    add("--overwrite", action="store_true", help="replace the output folder if it contains a model")


def run(args: argparse.Namespace) -> int:
    from ..convert import convert_checkpoint

    convert_checkpoint(args.checkpoint, args.output, sampling_rate=args.sampling_rate, overwrite=args.overwrite)
    print(f"{args.output}: created; use it with dse-hf separate --model {args.output}")
    return 0
