"""Dialogue, music and effects from the corpus of `waveunet-speech-16khz`, and mixtures of the three.

In the corpus, music is a kind of noise; here it is a source. Each track, each voice and each recorded sound is in one
split only.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from dse_hf.data import Clip
from dse_hf.data.augmentation import RandomEqualizer, RandomSpeed, Waveform, rms
from dse_hf.data.clips import fill_stretch
from dse_hf.data.noises import ColouredNoise


RATE = 16000
SOURCES = ("dialogue", "music", "effects")
SPLITS = ("train", "validation", "test")

# Whole tracks of asterisk-moh-opsound-g722 and of fillets-ng-data. "Morning Coffee" was not in the training of the
# speech model that this model starts from. The other tracks were, as noise behind speech.
HELD_OUT_TRACKS = {"test": ("manolo-camp-morning-coffee", "rybky05", "rybky14"), "validation": ("rybky13", "kufrik")}
# The recordings of these speakers are noisy: the model would learn that their noise is dialogue.
EXCLUDED_SPEAKERS = {"fillets-cs", "kde-ar", "kde-ml", "kde-nb", "kde-wa"}
TRACK = re.compile(r"music-(?:asterisk-moh|fillets-ng-music)-(.+)-(?:g722|ogg)-\d+\.flac")

# Levels of (music, effects) in dB against the dialogue.
LEVELS = ((0, 0), (-5, -5), (-10, 0), (0, -10), (-10, -10))
SECONDS = 4.0


class Clips:
    """Recordings of one source in groups: voices, tracks, or kinds of sound.

    Args:
        groups (`dict[str, list[Path]]`): The files of each group, 16 kHz mono.
        equally (`bool`): Whether all groups are equally likely. Otherwise all files are.
    """

    def __init__(self, groups: dict[str, list[Path]], equally: bool):
        if not groups:
            raise ValueError("no recordings: make the corpus with waveunet-speech-16khz/corpus.py first")
        self.groups = {name: sorted(paths) for name, paths in sorted(groups.items())}
        sizes = np.array([1 if equally else len(paths) for paths in self.groups.values()], float)
        self.shares = sizes / sizes.sum()

    def draw(
        self, length: int, rng: np.random.Generator, speed: RandomSpeed | None = None, max_gap: float = 0.0
    ) -> tuple[str, Waveform]:
        """Returns the name of a group and a stretch (1, length) of its recordings, one after another where needed."""
        name = list(self.groups)[int(rng.choice(len(self.shares), p=self.shares))]
        paths = self.groups[name]

        def following() -> Callable[[], Waveform]:
            path = paths[int(rng.integers(len(paths)))]
            return lambda: soundfile.read(path, dtype="float32")[0][None]

        return name, fill_stretch(following()(), following, length, rng, speed, round(max_gap * RATE))


def read_sources(corpus: str | Path, split: str) -> dict[str, Clips]:
    """Returns the recordings of a split by source."""
    dialogue, music, effects = defaultdict(list), defaultdict(list), defaultdict(list)
    for path, row in _rows(Path(corpus) / "speech" / split):
        if row["speaker"] not in EXCLUDED_SPEAKERS:
            dialogue[row["speaker"]].append(path)
    for other in SPLITS:  # HELD_OUT_TRACKS decides the split of a track, not the corpus
        for path, _ in _rows(Path(corpus) / "noise" / other):
            track = TRACK.fullmatch(path.name)
            if track and _split_of(track[1]) == split:
                music[track[1]].append(path)
    for path, row in _rows(Path(corpus) / "noise" / split):
        # The samples of the synthesizer are neither music nor sounds of a scene.
        if row["kind"] != "music" and row["package"] != "sonic-pi-samples":
            effects[row["kind"]].append(path)
    return {"dialogue": Clips(dialogue, False), "music": Clips(music, True), "effects": Clips(effects, True)}


def _rows(folder: Path) -> Iterator[tuple[Path, dict]]:
    with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield folder / row["file_name"], row


def _split_of(track: str) -> str:
    return next((split for split, names in HELD_OUT_TRACKS.items() if track in names), "train")


def scaled(waveform: Waveform, level_db: float) -> Waveform:
    """Returns the waveform at an RMS level in dBFS. Silence stays silence."""
    return (waveform * (10 ** (level_db / 20) / max(rms(waveform), 1e-6))).astype(np.float32)


def without_clipping(sources: Waveform) -> Waveform:
    """Returns the sources (K, C, T), all turned down by one factor if one of them or their sum would clip."""
    peak = max(np.abs(sources.sum(axis=0)).max(), np.abs(sources).max(), 1e-8)
    return (sources * min(1.0, 0.99 / peak)).astype(np.float32)


class Mixer:
    """Draws the sources (3, 1, T) of a training mixture, with random speed, equaliser and level. Each can be silent.

    Music and effects are from 16 dB below the dialogue to 4 dB above it.
    """

    ABSENT = {"dialogue": 0.08, "music": 0.15, "effects": 0.12}
    RELATIVE_DB = {"dialogue": (0.0, 0.0), "music": (-16.0, 4.0), "effects": (-16.0, 4.0)}
    SPEED = {"dialogue": (0.92, 1.09), "music": (0.84, 1.19), "effects": (0.7, 1.4)}
    GAP = {"dialogue": 0.5, "music": 0.0, "effects": 0.3}  # seconds
    LEVEL_DB = (-36.0, -14.0)
    SYNTHETIC_SHARE = 0.08  # of the effects are coloured noise, which is like wind or a ventilator

    def __init__(self, clips: dict[str, Clips]):
        self.clips = clips
        self.speed = {source: RandomSpeed(*limits) for source, limits in self.SPEED.items()}
        self.equalizer = RandomEqualizer(RATE, bands=2, max_gain_db=6)
        self.noise = ColouredNoise(RATE)

    def __call__(self, length: int, rng: np.random.Generator) -> Waveform:
        level = rng.uniform(*self.LEVEL_DB)
        parts = []
        for source in SOURCES:
            if source == "effects" and rng.uniform() < self.SYNTHETIC_SHARE:
                part = self.noise(length, rng)[None]
            else:
                part = self.clips[source].draw(length, rng, self.speed[source], self.GAP[source])[1]
            part = scaled(self.equalizer(part, rng), level + rng.uniform(*self.RELATIVE_DB[source]))
            parts.append(part * np.float32(rng.uniform() >= self.ABSENT[source]))
        return without_clipping(np.stack(parts))


def held_out_clips(corpus: str | Path, per_level: int, split: str = "test") -> Iterator[Clip]:
    """Yields mixtures of 4 seconds at `LEVELS`, with the dialogue at -25 dBFS: the same bits every time."""
    clips, length = read_sources(corpus, split), round(SECONDS * RATE)
    for music_db, effects_db in LEVELS:
        for index in range(per_level):
            rng = np.random.default_rng((7, -music_db, -effects_db, index))
            drawn = [clips[source].draw(length, rng, max_gap=Mixer.GAP[source]) for source in SOURCES]
            parts = [scaled(part, -25 + db) for (_, part), db in zip(drawn, (0, music_db, effects_db))]
            sources = without_clipping(np.stack(parts))
            (voice, _), (track, _), (kind, _) = drawn
            levels = f"music {music_db} dB, effects {effects_db} dB"
            name = f"{levels}, {index}: {voice}, {track}, {kind}"
            yield Clip(name, sources.sum(axis=0), sources, {"kind": levels, "speaker": voice})
