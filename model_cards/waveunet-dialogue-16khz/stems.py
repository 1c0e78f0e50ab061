#!/usr/bin/env python3
"""Writes the stems that the model is trained on: dialogue, music and effects at random levels, 3 seconds each.

    python model_cards/waveunet-dialogue-16khz/stems.py corpus corpus/stems

The corpus is that of waveunet-speech-16khz (its corpus.py makes it). A mixture is a folder of three files, as in
`train/00001/music.wav`; what is absent from it is silent. 3.5 GB; the same corpus gives the same stems. Prints the
minutes of recordings that they are made of.
"""

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from sources import RATE, SOURCES, SPLITS, Mixer, read_sources
from tqdm import tqdm


SECONDS = 3.0
MIXTURES = {"train": 12000, "validation": 160}


def write(corpus: Path, folder: Path, jobs: int | None) -> None:
    for number, (split, count) in enumerate(MIXTURES.items()):
        mixer = Mixer(read_sources(corpus, split))
        with ProcessPoolExecutor(jobs) as pool:
            mixtures = pool.map(partial(_write_one, mixer, folder / split, number), range(count), chunksize=20)
            for _ in tqdm(mixtures, split, total=count, disable=None):
                pass


def _write_one(mixer: Mixer, folder: Path, number: int, index: int) -> None:
    sources = mixer(round(SECONDS * RATE), np.random.default_rng((3, number, index)))
    place = folder / f"{index:05}"
    place.mkdir(parents=True)
    for name, part in zip(SOURCES, sources):
        soundfile.write(place / f"{name}.wav", part[0], RATE, subtype="PCM_16")


def print_minutes(corpus: Path) -> None:
    for split in SPLITS:
        for source, clips in read_sources(corpus, split).items():
            seconds = {name: sum(map(_seconds, paths)) for name, paths in clips.groups.items()}
            parts = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
            print(f"{split} {source}: {sum(seconds.values()) / 60:.1f} minutes ({parts})")


def _seconds(path: Path) -> float:
    return soundfile.info(path).duration


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that corpus.py of waveunet-speech-16khz made")
    parser.add_argument("folder", type=Path, help="where the stems go")
    parser.add_argument("--jobs", type=int, help="processes that write them; default: one for each processor")
    arguments = parser.parse_args()
    if not (arguments.corpus / "corpus.json").exists():
        script = Path(__file__).parent.parent / "waveunet-speech-16khz" / "corpus.py"
        print(f"{arguments.corpus}: no corpus; make it with: python {script} {arguments.corpus}", file=sys.stderr)
        return 1
    print_minutes(arguments.corpus)
    if arguments.folder.exists():
        print(f"{arguments.folder} is there: nothing to do")
        return 0
    part = arguments.folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    write(arguments.corpus, part, arguments.jobs)
    part.rename(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
