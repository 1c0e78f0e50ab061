"""The held-out speech and noise of a corpus at 48 kHz, and mixtures of them: the same ones every time."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from dse_hf.audio import resample
from dse_hf.data import Clip


RATE = 48000  # Hz
SECONDS = 6.0
SNRS = (0, 5, 10, 15)  # dB
FULL_BAND = 15000  # Hz; speech that reaches it counts as full band
LEVEL = -25  # dBFS (RMS)
DEFAULT = "waveunet-speech-16khz"  # the model that this one is compared with
MARK = "speech/test/metadata.csv"  # every corpus has it
SILENT = 1e-4  # a stretch with a lower RMS is drawn again


class Recordings:
    """The clips of one split in a folder with `metadata.csv`.

    Args:
        folder (`Path`): the folder `speech` or `noise` of the corpus.
        split (`str`): the split.
        lowest_band (`float`): clips whose column `bandwidth` has less, in Hz, are left out.
    """

    def __init__(self, folder: Path, split: str, lowest_band: float = 0):
        self.folder = Path(folder, split)
        with open(self.folder / "metadata.csv", newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if float(row.get("bandwidth") or 0) >= lowest_band]
        if not rows:
            raise ValueError(f"{self.folder}: no clip reaches {lowest_band:g} Hz")
        self.files = [row["file_name"] for row in rows]
        self.labels = [row.get("speaker") or row.get("kind") or "unknown" for row in rows]  # speaker or kind of noise

    def draw(self, length: int, rng: np.random.Generator, balance: int = 0) -> tuple[str, np.ndarray]:
        """Draws a random stretch (1, length), and returns its speaker or kind of noise too.

        If a clip is too short, others of the same speaker or kind follow it. With a `balance` of 1, all speakers or
        kinds are equally likely, with 0 all clips are.
        """
        for _attempt in range(20):
            label = str(rng.choice(sorted(set(self.labels)) if balance else self.labels))
            same = [number for number, other in enumerate(self.labels) if other == label]
            parts = []
            while sum(map(len, parts)) < length:
                parts.append(self._stretch(int(rng.choice(same)), length, rng))
            samples = np.concatenate(parts)[None, :length]
            if np.sqrt(np.square(samples).mean()) > SILENT:
                return label, samples
        raise ValueError(f"{self.folder}: nearly all is silence")

    def _stretch(self, number: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """A random stretch of a clip, at most `length` samples long."""
        path = self.folder / self.files[number]
        with soundfile.SoundFile(path) as file:
            wanted = -(-length * file.samplerate // RATE)
            file.seek(int(rng.integers(file.frames - wanted + 1)) if file.frames > wanted else 0)
            samples = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1, keepdims=True)
            return resample(samples, file.samplerate, RATE)[:length, 0]


def held_out_clips(corpus: str, per_snr: int, split: str = "test", first: int = 0) -> Iterator[Clip]:
    """Yields mixtures of full-band speech with noise, from number `first` of each SNR on, with speaker and kind.

    Every kind of noise is equally likely. The mixture has a level of -25 dBFS (RMS).
    """
    speech = Recordings(Path(corpus, "speech"), split, FULL_BAND)
    noise = Recordings(Path(corpus, "noise"), split)
    length = round(SECONDS * RATE)
    for snr in SNRS:
        for index in range(first, first + per_snr):
            rng = np.random.default_rng((1000 + snr, index))
            speaker, voice = speech.draw(length, rng)
            kind, background = noise.draw(length, rng, balance=1)
            background = at_level(background, level_db(voice) - snr)
            gain = 10 ** ((LEVEL - level_db(voice + background)) / 20)
            references = (gain * np.stack([voice, background])).astype(np.float32)
            attributes = {"snr": snr, "speaker": speaker, "kind": kind}
            yield Clip(f"{snr} dB, {index}", references.sum(axis=0), references, attributes)


def level_db(samples: np.ndarray) -> float:
    """RMS level in dBFS."""
    return 10 * np.log10(np.square(samples, dtype=np.float64).mean() + 1e-30)


def at_level(samples: np.ndarray, level: float) -> np.ndarray:
    """The samples at an RMS level in dBFS."""
    return samples * 10 ** ((level - level_db(samples)) / 20)
