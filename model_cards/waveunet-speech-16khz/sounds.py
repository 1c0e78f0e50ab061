#!/usr/bin/env python3
"""Writes sounds for the card: the held-out clips with the highest, the median and the lowest gain.

    python model_cards/waveunet-speech-16khz/sounds.py corpus

takes the gains from `results.json`, which `evaluate.py corpus --write` makes, and replaces `example/held_out` and the
table of sounds in the card.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import soundfile
from evaluate import held_out_clips

from dse_hf import load_model
from dse_hf.evaluation.report import notable_clips


HERE = Path(__file__).resolve().parent
FOLDER = Path("example", "held_out")
RATE = 16000
PER_SNR = 25
TABLE = re.compile(r"(<!-- sounds -->\n).*?(<!-- /sounds -->)", re.DOTALL)
HEADER = """| clip | voice, noise | input SNR | improvement | noisy | clean | foreground |
|---|---|---|---|---|---|---|"""


def rows(records: list[dict], clips: dict, model, folder: Path) -> list[str]:
    """Writes the sounds of the notable clips, and returns their rows of the table."""
    records, lines = {record["name"]: record for record in records}, []
    for rank, name in notable_clips(list(records.values())).items():
        clip, attributes = clips[name], records[name]["attributes"]
        estimate = model.separate(clip.mixture, RATE)["foreground"]
        cells = []
        for kind, samples in (("noisy", clip.mixture), ("clean", clip.references[0]), ("foreground", estimate)):
            path = folder / f"{rank}.{kind}.ogg"
            soundfile.write(path, np.asarray(samples).T, RATE, format="OGG", subtype="VORBIS")
            cells.append(f'<audio controls src="{FOLDER / path.name}"></audio>')
        gain = records[name]["scores"]["foreground"]["si_sdr_improvement"]
        about = f"{attributes['speaker']}, {attributes['kind']} | {attributes['snr']:g} dB | {gain:+.1f} dB"
        lines.append(f"| {rank} | {about} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", help="folder that corpus.py made")
    corpus = parser.parse_args().corpus
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    clips = {clip.name: clip for clip in held_out_clips(corpus, PER_SNR, "test")}
    (HERE / FOLDER).mkdir(parents=True, exist_ok=True)
    records, model = results["models"][HERE.name]["clips"], load_model(HERE.name)
    table = "\n".join([HEADER, *rows(records, clips, model, HERE / FOLDER)])
    card = HERE / "README.md"
    text = TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", card.read_text(encoding="utf-8"))
    card.write_text(text, encoding="utf-8")
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
