#!/usr/bin/env python3
"""Builds the corpus of speech and noise that the default model is trained on, from Debian packages.

    python model_cards/waveunet-speech-16khz/corpus.py corpus

downloads the packages (810 MB; nothing is installed), decodes them to 16 kHz mono FLAC, leaves out unfit recordings,
and writes two datasets in the audiofolder layout of `datasets`:

    corpus/speech/{train,validation,test}/*.flac + metadata.csv (file_name, speaker, language, package, …)
    corpus/noise/{train,validation,test}/*.flac  + metadata.csv (file_name, kind, package, …)
    corpus/corpus.json                           minutes by split, package and kind, and what was left out

Each voice, and each source of noise, is in one split only. The same packages give the same files. The script needs
ffmpeg, and apt-get and dpkg-deb to download. `--packages` names a folder of packages that are unpacked already, one
folder for each.
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
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from tqdm import tqdm


RATE = 16000
SHORTEST, LONGEST = 0.25, 20.0  # seconds; longer recordings are cut into pieces
# Lowest ratio of the loud frames (95th percentile) of a speech clip to its quietest ones (2nd percentile). Clips with
# a lower ratio are noisy, or music. The 10th percentile would not do: it is loud in speech without pauses, so that 5
# minutes of clean Spanish prompts would look noisy.
SPEECH_RANGE_DB = 25.0
SPLITS = ("train", "validation", "test")

LICENCES = {
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-it-g722": "CC-BY-3.0",
    "asterisk-core-sounds-ru-g722": "CC-BY-3.0",
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0",
    "fillets-ng-data": "GPL-2+",
    "fillets-ng-data-cs": "GPL-2+",
    "fillets-ng-data-nl": "GPL-2+",
    "klettres-data": "GPL-2+",
    "ktuberling-data": "GPL-2+",
    "lincity-ng-data": "GPL-2+",
    "sonic-pi-samples": "CC0-1.0",
    "torcs-data": "GPL-2+",
    "wesnoth-1.16-data": "GPL-2+",
}

# One person speaks the English and the Spanish prompts (CREDITS, in the packages' copyright files).
SAME_VOICE = {"asterisk-en": "asterisk-allison", "asterisk-es": "asterisk-allison"}
# Whole voices are held out. A language of the two children's games is one voice, as the speakers may be the same.
HELD_OUT_VOICES = {
    "test": {"asterisk-it", "kde-en", "kde-en_GB", "kde-lt", "kde-pt", "kde-pt_BR", "kde-nn", "kde-ga"},
    "validation": {"kde-it", "kde-de", "kde-nds", "kde-he", "kde-da", "kde-ca"},
}
# Whole sources of noise are held out, by file name.
HELD_OUT_NOISES = {
    "test": r"RailTrain|Market|^Mill\d|Harbor|Fire\d|SportsCroud|lamborghini|porsche|skid|campfire|ship|horse"
    r"|wolf|loop_amen|loop_breakbeat|ambi_d|vinyl|elec_b|manolo_camp",
    "validation": r"Blacksmith|FireStation|WindMill|University|Water|f360|boom|birds|gryphon|loop_industrial"
    r"|ambi_glass|glitch|rybky13",
}
# Monkeys and chimes among the prompts. In the test split the monkeys stay, so that its mixtures stay what they were.
NO_SPEECH_IN_TRAINING = re.compile(r"tt-monkeys\.|confbridge-(join|leave)\.")
# We were asked not to train on it.
RESERVED = re.compile(r"reno_project-system")


@dataclass(frozen=True)
class Recording:
    """A file of a package, and what is known about it."""

    path: Path
    package: str
    split: str
    labels: tuple[tuple[str, str], ...]  # speaker and language, or kind


def find_speech(packages: Path) -> list[Recording]:
    found = []
    for package, pattern in (
        ("asterisk-core-sounds-{}-g722", "*.g722"),
        ("fillets-ng-data-{}", "*.ogg"),
    ):
        for language in ("cs", "en", "es", "it", "nl", "ru"):
            name = package.format(language)
            voice = f"{name.split('-')[0]}-{language}"
            voice = SAME_VOICE.get(voice, voice)
            found += [(path, name, voice, language) for path in (packages / name).rglob(pattern)]
    for name, folder in (("klettres-data", "share/klettres/"), ("ktuberling-data", "ktuberling/sounds/")):
        for path in (packages / name).rglob("*"):
            if path.suffix in (".ogg", ".wav", ".opus") and folder in path.as_posix():
                language = path.as_posix().split(folder)[1].split("/")[0].split("@")[0]
                found.append((path, name, f"kde-{language}", language))
    return [
        Recording(path, name, _split_of(voice), (("speaker", voice), ("language", language)))
        for path, name, voice, language in sorted(found)
        if _split_of(voice) != "train" or not NO_SPEECH_IN_TRAINING.match(path.name)
    ]


def _split_of(voice: str) -> str:
    return next((split for split, voices in HELD_OUT_VOICES.items() if voice in voices), "train")


def find_noise(packages: Path) -> list[Recording]:
    found = []
    for name, pattern in (
        ("lincity-ng-data", "*.wav"),
        ("torcs-data", "*.wav"),
        ("wesnoth-1.16-data", "data/core/sounds/**/*"),
        ("sonic-pi-samples", "*.flac"),
        ("asterisk-moh-opsound-g722", "*.g722"),
        ("fillets-ng-data", "music/*.ogg"),
    ):
        for path in (packages / name).rglob(pattern):
            if path.suffix in (".wav", ".ogg", ".flac", ".g722") and not RESERVED.search(path.name):
                found.append((path, name))
    return [
        Recording(path, name, _split_of_noise(path.name), (("kind", _kind_of(name, path.stem)),))
        for path, name in sorted(found)
    ]


def _split_of_noise(name: str) -> str:
    return next((split for split, names in HELD_OUT_NOISES.items() if re.search(names, name)), "train")


def _kind_of(package: str, name: str) -> str:
    if package in ("asterisk-moh-opsound-g722", "fillets-ng-data") or re.match(
        "(loop|tabla|drum|bd|sn|bass|guit)_|tabla|fanfare|horn-\\d|wardrums", name
    ):
        return "music"
    if package == "torcs-data":
        return "machine"
    if re.search("Market|Sports|School|University|Commune|Residential|Shanty|Monument", name):
        return "crowd"
    if re.search("Parkland|Water|Farm|Green|Fire\\d|birds|wolf|horse|morning|night|campfire|ship", name):
        return "nature"
    return "machine" if package == "lincity-ng-data" else "effects"


def decode(path: Path) -> np.ndarray:
    """Returns samples (T,) at 16 kHz, mono, without digital silence at the ends."""
    if path.suffix == ".g722":
        command = ["ffmpeg", "-v", "error", "-f", "g722", "-i", str(path), "-f", "s16le", "-ac", "1", "-"]
        samples = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
        mono = samples.astype(np.float32) / 32768
    else:
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            samples, rate = _decode_with_av(path)
        mono = soxr.resample(samples.mean(axis=1), rate, RATE)
    audible = np.flatnonzero(np.abs(mono) > 1e-4)
    return mono[audible[0] : audible[-1] + 1] if len(audible) else mono[:0]


def _decode_with_av(path: Path) -> tuple[np.ndarray, int]:
    """Returns samples (T, channels) and their rate, for files that soundfile cannot read."""
    with av.open(str(path)) as container:
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


def unfit(samples: np.ndarray, is_speech: bool) -> str | None:
    """Returns why a clip is left out, or None."""
    if len(samples) < SHORTEST * RATE:
        return "short or silent"
    if not is_speech:
        return None
    peak = np.abs(samples).max()
    if np.mean(np.abs(samples) > 0.98 * peak) > 0.004:
        return "clipped"
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    if np.percentile(levels, 95) - np.percentile(levels, 2) < SPEECH_RANGE_DB:
        return "noisy"
    return None


def convert(recording: Recording, folder: Path) -> tuple[list[dict], str | None]:
    """Writes the clips of a recording. Returns their rows for `metadata.csv`, or why there are none."""
    try:
        samples = decode(recording.path)
    except (av.FFmpegError, IndexError, ValueError, subprocess.CalledProcessError):
        return [], "not readable"
    reason = unfit(samples, is_speech="speaker" in dict(recording.labels))
    if reason:
        return [], reason
    samples = samples * min(1.0, 0.98 / np.abs(samples).max())
    label = dict(recording.labels).get("speaker") or dict(recording.labels)["kind"]
    stem = re.sub(r"[^A-Za-z0-9]+", "-", "-".join((label, *recording.path.parts[-3:])))
    rows = []
    pieces = np.array_split(samples, -(-len(samples) // int(LONGEST * RATE)))
    for number, piece in enumerate(pieces):
        name = f"{stem}-{number}.flac"
        soundfile.write(folder / recording.split / name, piece, RATE, subtype="PCM_16")
        rows.append(
            {
                "file_name": name,
                **dict(recording.labels),
                "package": recording.package,
                "licence": LICENCES[recording.package],
                "duration": f"{len(piece) / RATE:.3f}",
            }
        )
    return rows, None


def build(recordings: list[Recording], folder: Path, jobs: int) -> dict:
    """Writes one dataset, and returns its numbers for `corpus.json`."""
    for split in SPLITS:
        (folder / split).mkdir(parents=True)
    rows, left_out = defaultdict(list), Counter()
    for package, count in Counter(recording.package for recording in recordings).items():
        left_out[f"{package}: duplicate"] = count
    recordings = without_duplicates(recordings)
    for recording in recordings:
        left_out[f"{recording.package}: duplicate"] -= 1
    with ProcessPoolExecutor(jobs) as pool:
        results = pool.map(partial(convert, folder=folder), recordings, chunksize=16)
        for recording, (clips, reason) in zip(recordings, tqdm(results, folder.name, len(recordings))):
            rows[recording.split] += clips
            if reason:
                left_out[f"{recording.package}: {reason}"] += 1
    minutes: dict = defaultdict(Counter)
    for split in SPLITS:
        with open(folder / split / "metadata.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[split][0]))
            writer.writeheader()
            writer.writerows(rows[split])
        for row in rows[split]:
            for key in {row["package"], row.get("kind", row["package"])}:
                minutes[split][key] += float(row["duration"]) / 60
    return {
        "clips": {split: len(rows[split]) for split in SPLITS},
        "minutes": {
            split: {key: round(value, 1) for key, value in sorted(minutes[split].items())} for split in SPLITS
        },
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
    }


def versions(packages: Path) -> dict:
    """Returns the version of each package, from its changelog."""
    found = {}
    for name in LICENCES:
        for changelog in sorted((packages / name).glob(f"usr/share/doc/{name}/changelog.Debian*.gz")):
            with gzip.open(changelog, "rt", encoding="utf-8", errors="replace") as file:
                found[name] = file.readline().split("(")[-1].split(")")[0]
    return found


def print_table(summary: dict) -> None:
    for dataset in ("speech", "noise"):
        minutes, clips = summary[dataset]["minutes"], summary[dataset]["clips"]
        print(f"{dataset:32}{''.join(f'{split:>12}' for split in SPLITS)}   (minutes)")
        for key in sorted({key for split in SPLITS for key in minutes[split]}):
            print(f"  {key:30}{''.join(f'{minutes[split].get(key, 0):12.1f}' for split in SPLITS)}")
        print(f"  {'clips':30}{''.join(f'{clips[split]:12}' for split in SPLITS)}")


def download(folder: Path) -> None:
    """Downloads and unpacks the packages into `folder`, one folder each."""
    for name in LICENCES:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that the corpus is written into")
    parser.add_argument("--packages", type=Path, help="folder of unpacked packages (default: FOLDER.packages)")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (default: 2)")
    arguments = parser.parse_args()
    if (arguments.folder / "corpus.json").exists():
        print(f"{arguments.folder} is complete: nothing to do")
        return 0
    if arguments.folder.exists():
        return _refuse(f"{arguments.folder} exists and is no finished corpus: give another folder, or remove it")
    packages = arguments.packages or arguments.folder.with_suffix(".packages")
    complete = all((packages / name).exists() for name in LICENCES)
    tools = ("ffmpeg",) if complete else ("ffmpeg", "apt-get", "dpkg-deb")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return _refuse(f"{', '.join(missing)} not found: install it first (apt-get install ffmpeg)")
    download(packages)
    part = arguments.folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    summary = {
        "speech": build(find_speech(packages), part / "speech", arguments.jobs),
        "noise": build(find_noise(packages), part / "noise", arguments.jobs),
        "licences": LICENCES,
        "versions": versions(packages),
    }
    (part / "corpus.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    part.rename(arguments.folder)
    print_table(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
