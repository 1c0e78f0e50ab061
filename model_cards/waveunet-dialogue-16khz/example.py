#!/usr/bin/env python3
"""Writes the example of the card: 3 seconds of dialogue with music and a train, and the dialogue alone.

python model_cards/waveunet-dialogue-16khz/example.py corpus
"""

import sys
from pathlib import Path

import numpy as np
import soundfile
from sources import RATE, SOURCES, Clips, read_sources, scaled, without_clipping


HERE = Path(__file__).parent
SECONDS = 3.0
DRAWN_FROM = {"dialogue": "asterisk-it", "music": "manolo-camp-morning-coffee", "effects": "machine"}
LEVELS_DB = {"dialogue": -25.0, "music": -30.0, "effects": -30.0}


def main(corpus: str) -> None:
    rng, parts = np.random.default_rng(5), []
    for source, clips in read_sources(corpus, "test").items():
        group = clips.groups[DRAWN_FROM[source]]
        if source == "effects":
            group = [path for path in group if "RailTrain" in path.name]
        part = Clips({DRAWN_FROM[source]: group}, True).draw(round(SECONDS * RATE), rng)[1]
        parts.append(scaled(part, LEVELS_DB[source]))
    sources = without_clipping(np.stack(parts))
    (HERE / "example").mkdir(exist_ok=True)
    for name, part in (("noisy", sources.sum(axis=0)), ("dialogue", sources[SOURCES.index("dialogue")])):
        soundfile.write(HERE / "example" / f"{name}.wav", part[0], RATE, subtype="PCM_16")


if __name__ == "__main__":
    main(sys.argv[1])
