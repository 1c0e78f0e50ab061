# /// script
# requires-python = ">=3.10"
# dependencies = ["dse-hf"]
#
# [tool.uv.sources]
# dse-hf = { path = ".." } # this checkout
# ///
"""Separates all audio files of a folder and of its subfolders, and keeps the subfolders.

uv run examples/separate_folder.py recordings/ separated/ --sources foreground
"""

import argparse
import sys
from pathlib import Path

from dse_hf import load_model, separate_file
from dse_hf.audio import AudioError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, help="folder with audio files")
    parser.add_argument("output", type=Path, help="folder for the results; not inside the input folder")
    parser.add_argument("--model", default="waveunet-speech-16khz", help="embedded name, folder or Hub id")
    parser.add_argument("--sources", nargs="+", help="names of the sources to write (default: all)")
    parser.add_argument("--format", default="wav", help="format of the results (default: %(default)s)")
    args = parser.parse_args()
    model, failures = load_model(args.model), 0
    for path in sorted(path for path in args.input.rglob("*") if path.is_file()):
        folder = args.output / path.parent.relative_to(args.input)
        try:
            result = separate_file(model, path, folder, sources=args.sources, file_format=args.format, overwrite=True)
        except AudioError as error:  # for example a file that is not audio
            print(f"skipped: {error}", file=sys.stderr)
            failures += 1
        else:
            print(f"{path}: {result.seconds:.1f} s in {result.elapsed:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
