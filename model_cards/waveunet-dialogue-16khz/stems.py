#!/usr/bin/env python3
"""Writes the stems that the model is trained on: dialogue, music and effects at random levels.

    python model_cards/waveunet-dialogue-16khz/stems.py corpus corpus/stems

A mixture is a folder of three files of 3 seconds, such as `train/00001/music.wav`. A source that the mixture does not
have is silent. The stems take 3.5 GB, and the same corpus gives the same stems. The script prints how many minutes of
recordings they are made of.
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
    parser.add_argument("corpus", type=Path, help="folder that waveunet-speech-16khz/corpus.py made")
    parser.add_argument("folder", type=Path, help="folder that the stems are written into")
    parser.add_argument("--jobs", type=int, help="number of processes (default: one for each processor)")
    arguments = parser.parse_args()
    if not (arguments.corpus / "corpus.json").exists():
        script = Path(__file__).parent.parent / "waveunet-speech-16khz" / "corpus.py"
        print(f"{arguments.corpus}: no corpus; make it with: python {script} {arguments.corpus}", file=sys.stderr)
        return 1
    print_minutes(arguments.corpus)
    if arguments.folder.exists():
        print(f"{arguments.folder} exists: nothing to do")
        return 0
    part = arguments.folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    write(arguments.corpus, part, arguments.jobs)
    part.rename(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
