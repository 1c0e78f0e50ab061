#!/usr/bin/env python3
"""Prints how clean the recordings of each speaker are: the mean DNSMOS of stretches of 6 seconds.

    python model_cards/waveunet-speech-16khz/recordings.py corpus [split]

A model may learn to keep the noise of its targets. The table says which speakers a recipe should leave out
(`excluded_speakers`), or clean first (`cleaned.py`). The script needs the extra `dnsmos`.
"""

import sys

import numpy as np
from speechmos import dnsmos

from dse_hf.data import ClipCollection


RATE, SECONDS, STRETCHES = 16000, 6, 8


def main(corpus: str, split: str = "train") -> None:
    clips = ClipCollection(f"{corpus}/speech", split, RATE)
    print("| speaker | clips | signal | background | overall |\n|---|---|---|---|---|")
    for speaker, members in sorted(clips.groups.items()):
        rng = np.random.default_rng(0)
        scores = [_score(clips, members, rng) for _ in range(STRETCHES)]
        means = " | ".join(f"{mean:.2f}" for mean in np.mean(scores, axis=0))
        print(f"| {speaker} | {len(members)} | {means} |", flush=True)


def _score(clips: ClipCollection, members: list[int], rng: np.random.Generator) -> list[float]:
    """Returns the scores of consecutive clips, from a random one on, with their peak at -6 dBFS."""
    position, parts = int(rng.integers(len(members))), []
    while sum(map(len, parts)) < RATE * SECONDS:
        parts.append(clips[members[position % len(members)]][0])
        position += 1
    samples = np.concatenate(parts)[: RATE * SECONDS]
    found = dnsmos.run((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)
    return [float(found[name]) for name in ("sig_mos", "bak_mos", "ovrl_mos")]


if __name__ == "__main__":
    main(*sys.argv[1:])
