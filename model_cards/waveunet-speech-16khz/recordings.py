#!/usr/bin/env python3
"""How clean the recordings of every speaker are: DNSMOS of stretches of 6 seconds, means.

Its targets' noise is what a model may learn to keep: `targets.yaml` leaves out the speaker with the noisiest
ones, `cleaner.yaml` three more, `wide.yaml` the next, `clearer.yaml` the next three.
`cleaned.py` takes it out instead.
Needs the extra `dnsmos`.

    python model_cards/waveunet-speech-16khz/recordings.py corpus [split]
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
    """Of clips one after another from a random one on, 6 dB below full scale."""
    position, parts = int(rng.integers(len(members))), []
    while sum(map(len, parts)) < RATE * SECONDS:
        parts.append(clips[members[position % len(members)]][0])
        position += 1
    samples = np.concatenate(parts)[: RATE * SECONDS]
    found = dnsmos.run((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)
    return [float(found[name]) for name in ("sig_mos", "bak_mos", "ovrl_mos")]


if __name__ == "__main__":
    main(*sys.argv[1:])
