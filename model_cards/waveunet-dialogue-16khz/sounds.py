#!/usr/bin/env python3
"""Writes sounds for the card: the held-out clips with the highest, the median and the lowest mean gain.

    python model_cards/waveunet-dialogue-16khz/sounds.py corpus

takes the gains from `results.json`, which `evaluate.py corpus --write` makes, and replaces `example/held_out` and the
table of sounds in the card.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import soundfile
from sources import RATE, SOURCES, held_out_clips

from dse_hf import load_model


HERE = Path(__file__).resolve().parent
FOLDER = Path("example", "held_out")
PER_LEVEL = 20
TABLE = re.compile(r"(<!-- sounds -->\n).*?(<!-- /sounds -->)", re.DOTALL)
HEADER = """| clip | source | SI-SDR: before, after | mixture | source alone | estimate |
|---|---|---|---|---|---|"""


def notable(records: list[dict]) -> dict[str, dict]:
    """Returns the records of the best, the median and the worst clip, by the mean improvement of the sources."""
    ranked = sorted(records, key=lambda record: -np.mean([gain(record, source) for source in SOURCES]))
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}


def gain(record: dict, source: str) -> float:
    return record["scores"][source]["si_sdr_improvement"]


def rows(records: list[dict], clips: dict, model, folder: Path) -> list[str]:
    """Writes the sounds of the notable clips, and returns their rows of the table."""
    lines = []
    for rank, record in notable(records).items():
        clip = clips[record["name"]]
        mixture = player(folder / f"{rank}.mixture.ogg", clip.mixture)
        for source, true, estimate in zip(SOURCES, clip.references, model.separate(clip.mixture, RATE).values()):
            after = record["scores"][source]["si_sdr"]
            players = [
                player(folder / f"{rank}.{source}.{kind}.ogg", samples)
                for kind, samples in (("true", true), ("estimate", estimate))
            ]
            first = (f"{rank}: {record['name']}", mixture) if source == SOURCES[0] else ("", "")
            scores = f"{after - gain(record, source):.1f}, {after:.1f} dB"
            lines.append(f"| {first[0]} | {source} | {scores} | {first[1]} | {' | '.join(players)} |")
    return lines


def player(path: Path, samples: np.ndarray) -> str:
    """Writes a sound, and returns the HTML that plays it in the card."""
    soundfile.write(path, np.asarray(samples).T, RATE, format="OGG", subtype="VORBIS")
    return f'<audio controls src="{FOLDER / path.name}"></audio>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that waveunet-speech-16khz/corpus.py made")
    corpus = parser.parse_args().corpus
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    clips = {clip.name: clip for clip in held_out_clips(corpus, PER_LEVEL)}
    (HERE / FOLDER).mkdir(parents=True, exist_ok=True)
    records, model = results["models"][HERE.name]["clips"], load_model(HERE.name, device="cpu")
    table = "\n".join([HEADER, *rows(records, clips, model, HERE / FOLDER)])
    card = HERE / "README.md"
    text = TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", card.read_text(encoding="utf-8"))
    card.write_text(text, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
