#!/usr/bin/env python3
"""Makes training targets from the speech of the corpus that have less of the recordings' own noise.

    python model_cards/waveunet-speech-16khz/cleaned.py corpus

writes the dataset corpus/cleaned_speech. Its split `train` has each recording of corpus/speech in the column `audio`.
The column `cleaned` has the recording without most of what DeepFilterNet3 (Schröter et al. 2023) takes out: four
fifths of it where it is far below the voice, and less where it is louder, because there it has speech in it. The
script needs the extra `peers`. If it is stopped, it goes on from there the next time.
"""

import csv
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from dse_hf.evaluation.systems import load_system


HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measuring import Parser  # noqa: E402


LARGEST_SHARE = 0.8  # of what DeepFilterNet3 takes out is taken out here, at most
LOUDEST_DB = -20.0  # is the highest level of what is taken out, against the loud parts of the speaker's clips
FRAME = 1024  # samples
SECONDS = 120.0  # of clips of one speaker are denoised together: the denoiser has a memory, and the clips are short


def main() -> int:
    parser = Parser(__doc__, writes=False)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    parser.set_defaults(split="train")
    arguments = parser.parse_args()
    source = Path(arguments.corpus, "speech", arguments.split)
    target = Path(arguments.corpus, "cleaned_speech", arguments.split)
    for column in ("recording", "cleaned"):
        (target / column).mkdir(parents=True, exist_ok=True)
    with open(source / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    groups = [group for group in in_groups(rows) if not all((target / "cleaned" / name).exists() for name in group)]
    with ProcessPoolExecutor(arguments.jobs) as processes:
        done = processes.map(partial(clean, source, target), groups)
        for _ in tqdm(done, desc="groups of clips", total=len(groups), disable=None):
            pass
    table = []
    for row in rows:
        name = row.pop("file_name")
        table.append({"audio_file_name": f"recording/{name}", "cleaned_file_name": f"cleaned/{name}", **row})
    with open(target / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return 0


def in_groups(rows: list[dict]) -> Iterator[list[str]]:
    """Yields groups of names of clips. All clips of a group are of one speaker."""
    clips: dict[str, list[dict]] = {}
    for row in rows:
        clips.setdefault(row["speaker"], []).append(row)
    for theirs in clips.values():
        names, seconds = [], 0.0
        for row in theirs:
            names.append(row["file_name"])
            seconds += float(row["duration"])
            if seconds > SECONDS:
                yield names
                names, seconds = [], 0.0
        if names:
            yield names


def clean(source: Path, target: Path, group: list[str]) -> None:
    """Writes the recordings of a group and their cleaned versions."""
    read = [soundfile.read(source / name, dtype="float32") for name in group]
    rate = read[0][1]
    recordings = [samples for samples, _ in read]
    whole = np.concatenate(recordings)
    before = whole[:rate][::-1]  # a second in which the denoiser gets used to the noise
    mixture = np.concatenate([before, whole])[None]
    denoised = load_system("deepfilternet").separate(mixture, rate, ["foreground"])["foreground"][0, len(before) :]
    cleaned = np.split(without(whole, whole - denoised), np.cumsum([len(samples) for samples in recordings])[:-1])
    for name, recording, samples in zip(group, recordings, cleaned):
        write(target / "recording" / name, recording, rate)
        write(target / "cleaned" / name, samples, rate)


def without(recording: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Returns the recording (T,) without `removed` (T,), as far as that is quiet."""
    loud = np.percentile(levels(recording), 95)
    allowed = loud * 10 ** (LOUDEST_DB / 20)
    shares = np.minimum(LARGEST_SHARE, allowed / np.maximum(levels(removed), 1e-9))
    times = np.arange(len(recording))
    return recording - np.interp(times, np.arange(len(shares)) * FRAME // 2, shares).astype(np.float32) * removed


def levels(samples: np.ndarray) -> np.ndarray:
    """Returns the RMS of frames that overlap by half. The first frame is centred on sample 0."""
    hop = FRAME // 2
    halves = np.square(np.pad(samples, (0, -len(samples) % hop)), dtype=np.float64).reshape(-1, hop).sum(axis=1)
    return np.sqrt((np.append(0, halves) + np.append(halves, 0)) / FRAME)


def write(path: Path, samples: np.ndarray, rate: int) -> None:
    """Writes 16-bit FLAC under a temporary name, and renames it: no half file is left under the name."""
    unfinished = path.with_suffix(".part")
    soundfile.write(unfinished, np.clip(samples, -1, 1 - 2**-15), rate, format="FLAC", subtype="PCM_16")
    unfinished.replace(path)


if __name__ == "__main__":
    sys.exit(main())
