"""Shared by the scripts that build a corpus from Debian packages: download, decode, leave out, cut, write.

Each script says which recordings it takes, and at which sampling rate (`Corpus`). Nothing is installed.
"""

import argparse
import csv
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from corpus_tables import SPLITS, print_table
from tqdm import tqdm


SHORTEST, LONGEST = 0.25, 20.0  # seconds; longer recordings are cut into pieces
# Lowest ratio of the loud frames (95th percentile) of a speech clip to its quietest ones (2nd percentile). Clips with
# a lower ratio are noisy, or music. The 10th percentile would not do: it is loud in speech without pauses, so that 5
# minutes of clean Spanish prompts would look noisy.
SPEECH_RANGE_DB = 25.0


@dataclass(frozen=True)
class Recording:
    """A file of a package, and what is known about it."""

    path: Path
    package: str
    split: str
    labels: tuple[tuple[str, str], ...]  # speaker and language, or kind
    checksum: bool = False  # in the file names, as otherwise "a-b.ogg", "a_b.ogg" and "a?b.ogg" have the same name

    @property
    def is_speech(self) -> bool:
        return "speaker" in dict(self.labels)

    @property
    def stem(self) -> str:
        """The start of its clips' file names."""
        label = dict(self.labels).get("speaker") or dict(self.labels)["kind"]
        stem = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((label, *self.path.parts[-3:])))
        return f"{stem}-{zlib.crc32('/'.join(self.path.parts[-5:]).encode()):08x}" if self.checksum else stem


@dataclass(frozen=True)
class Corpus:
    """What a script builds."""

    rate: int
    licences: dict[str, str]  # of each package
    find_speech: Callable[[Path], list[Recording]]
    find_noise: Callable[[Path], list[Recording]]
    # Further columns of `metadata.csv`: each function takes a clip, its rate, and whether it is speech.
    columns: dict[str, Callable[[np.ndarray, int, bool], float]] = field(default_factory=dict)


def decode(path: Path, rate: int) -> np.ndarray:
    """Returns samples (T,) at `rate`, mono, without digital silence at the ends."""
    if path.suffix == ".g722":
        samples, found = _decode_with_av(path, "g722")
    else:
        try:
            samples, found = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            samples, found = _decode_with_av(path)
    mono = samples.mean(axis=1)
    if found != rate:
        mono = soxr.resample(mono, found, rate)
    audible = np.flatnonzero(np.abs(mono) > 1e-4)
    return mono[audible[0] : audible[-1] + 1] if len(audible) else mono[:0]


def _decode_with_av(path: Path, format: str | None = None) -> tuple[np.ndarray, int]:
    """Returns samples (T, channels) and their rate, for files that soundfile cannot read."""
    with av.open(str(path), format=format) as container:
        rate = container.streams.audio[0].rate
        to_float = av.AudioResampler(format="fltp", rate=rate)
        frames = [part for frame in container.decode(audio=0) for part in to_float.resample(frame)]
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T, rate


def without_duplicates(recordings: list[Recording]) -> list[Recording]:
    """Keeps one recording of each content. If two splits have the same, the held-out split keeps it."""
    first: dict = {}
    for recording in sorted(recordings, key=lambda item: -SPLITS.index(item.split)):
        first.setdefault(hashlib.sha256(recording.path.read_bytes()).digest(), recording)
    kept = set(first.values())
    return [recording for recording in recordings if recording in kept]


def unfit(samples: np.ndarray, rate: int, is_speech: bool) -> str | None:
    """Returns why a clip is left out, or None."""
    if len(samples) < SHORTEST * rate:
        return "short or silent"
    if not is_speech:
        return None
    peak = np.abs(samples).max()
    if np.mean(np.abs(samples) > 0.98 * peak) > 0.004:
        return "clipped"
    frame = rate // 50
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    if np.percentile(levels, 95) - np.percentile(levels, 2) < SPEECH_RANGE_DB:
        return "noisy"
    return None


def convert(recording: Recording, folder: Path, rate: int, licences: dict, columns: dict) -> tuple[list, str | None]:
    """Writes the clips of a recording. Returns their rows for `metadata.csv`, or why there are none."""
    try:
        samples = decode(recording.path, rate)
    except (av.FFmpegError, IndexError, ValueError):
        return [], "not readable"
    reason = unfit(samples, rate, recording.is_speech)
    if reason:
        return [], reason
    samples = samples * min(1.0, 0.98 / np.abs(samples).max())
    rows = []
    pieces = np.array_split(samples, -(-len(samples) // int(LONGEST * rate)))
    for number, piece in enumerate(pieces):
        name = f"{recording.stem}-{number}.flac"
        soundfile.write(folder / recording.split / name, piece, rate, subtype="PCM_16")
        rows.append(
            {
                "file_name": name,
                **dict(recording.labels),
                "package": recording.package,
                "licence": licences[recording.package],
                "duration": f"{len(piece) / rate:.3f}",
                **{column: measure(piece, rate, recording.is_speech) for column, measure in columns.items()},
            }
        )
    return rows, None


def build(recordings: list[Recording], folder: Path, jobs: int, corpus: Corpus) -> dict:
    """Writes one dataset, and returns its numbers for `corpus.json`."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
    rows, left_out = defaultdict(list), Counter()
    for package, count in Counter(recording.package for recording in recordings).items():
        left_out[f"{package}: duplicate"] = count
    recordings = without_duplicates(recordings)
    for recording in recordings:
        left_out[f"{recording.package}: duplicate"] -= 1
    one = partial(convert, folder=folder, rate=corpus.rate, licences=corpus.licences, columns=corpus.columns)
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(one, recordings, chunksize=16)
        for recording, (clips, reason) in zip(recordings, tqdm(results, folder.name, len(recordings))):
            rows[recording.split] += clips
            if reason:
                left_out[f"{recording.package}: {reason}"] += 1
    for split in SPLITS:
        with open(folder / split / "metadata.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[split][0]))
            writer.writeheader()
            writer.writerows(rows[split])
    return {
        "clips": {split: len(rows[split]) for split in SPLITS},
        "minutes": {split: minutes(rows[split]) for split in SPLITS},
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        **{
            f"minutes_by_{column}": {split: minutes_by_column(rows[split], column) for split in SPLITS}
            for column in corpus.columns
        },
    }


def minutes(rows: list[dict]) -> dict[str, float]:
    """Returns the minutes of each package and each kind."""
    found: Counter = Counter()
    for row in rows:
        for key in {row["package"], row.get("kind", row["package"])}:
            found[key] += float(row["duration"]) / 60
    return {key: round(value, 1) for key, value in sorted(found.items())}


def minutes_by_column(rows: list[dict], column: str) -> dict[str, dict[str, float]]:
    """Returns the minutes of each package by the thousands of a column: by kHz, if the column is in Hz."""
    found: dict = defaultdict(Counter)
    for row in rows:
        found[row["package"]][int(row[column]) // 1000] += float(row["duration"]) / 60
    return {
        package: {str(key): round(value, 2) for key, value in sorted(counts.items())}
        for package, counts in sorted(found.items())
    }


def versions(packages: Path, names: list[str]) -> dict:
    """Returns the version of each package, from its changelog."""
    found = {}
    for name in names:
        for changelog in sorted((packages / name).glob(f"usr/share/doc/{name}/changelog.Debian*.gz")):
            with gzip.open(changelog, "rt", encoding="utf-8", errors="replace") as file:
                found[name] = file.readline().split("(")[-1].split(")")[0]
    return found


def download(folder: Path, names: list[str]) -> None:
    """Downloads and unpacks the packages into `folder`, one folder each."""
    for name in names:
        if (folder / name).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, check=True)
        (archive,) = folder.glob(f"{name}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, folder / f"{name}.part"], check=True)
        (folder / f"{name}.part").rename(folder / name)
        archive.unlink()


def _refuse(reason: str) -> int:
    print(f"corpus.py: {reason}", file=sys.stderr)
    return 1


def main(corpus: Corpus, description: str, finish: Callable[[dict], None] = print_table) -> int:
    """The command line of a script. `finish` prints the numbers of a corpus that has been built."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that the corpus is written into")
    parser.add_argument("--packages", type=Path, help="folder of unpacked packages (default: FOLDER.packages)")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: 2)")
    arguments = parser.parse_args()
    names = list(corpus.licences)
    if (arguments.folder / "corpus.json").exists():
        print(f"{arguments.folder} is complete: nothing to do")
        if finish is not print_table:
            finish(json.loads((arguments.folder / "corpus.json").read_text(encoding="utf-8")))
        return 0
    if arguments.folder.exists():
        return _refuse(f"{arguments.folder} exists and is no finished corpus: give another folder, or remove it")
    packages = arguments.packages or arguments.folder.with_suffix(".packages")
    complete = all((packages / name).exists() for name in names)
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing and not complete:
        return _refuse(f"{', '.join(missing)} not found: give the unpacked packages (--packages)")
    download(packages, names)
    part = arguments.folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    summary = {
        "speech": build(corpus.find_speech(packages), part / "speech", arguments.jobs, corpus),
        "noise": build(corpus.find_noise(packages), part / "noise", arguments.jobs, corpus),
        "licences": corpus.licences,
        "versions": versions(packages, names),
    }
    (part / "corpus.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    part.rename(arguments.folder)
    finish(summary)
    return 0
