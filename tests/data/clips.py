"""Tiny datasets for the tests of dse_hf.data."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import soundfile


RATE = 16000


def config(sources=("foreground", "background"), channels=1, sampling_rate=RATE, context=0):
    """What the data needs of a model's config; the input is `context` samples longer than the output."""
    return SimpleNamespace(
        sampling_rate=sampling_rate, channels=channels, sources=sources, input_length_for=lambda n: n + context
    )


def encoded(samples, rate: int = RATE, format: str = "wav", subtype: str = "FLOAT") -> bytes:
    """Samples (T,) or (T, C) as the content of a file."""
    content = io.BytesIO()
    soundfile.write(content, np.asarray(samples, np.float32), rate, format=format, subtype=subtype)
    return content.getvalue()


def item(samples, name: str = "clip.wav", **options) -> dict:
    """Samples as a `datasets` audio item."""
    return {"bytes": encoded(samples, **options), "path": name}


def constant(value: float, length: int = 2000):
    """A clip that its value identifies."""
    return np.full(length, value, np.float32)


def write_clips(folder, clips: dict, rate: int = RATE, **columns) -> None:
    """Writes files (name → samples), and a metadata.csv if there are columns (name → a value for each file)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in clips.items():
        soundfile.write(folder / name, samples, rate)
    if columns:
        with open(folder / "metadata.csv", "w", newline="") as file:
            csv.writer(file).writerows([("file_name", *columns), *zip(clips, *columns.values(), strict=True)])


def pair_rows(count: int, length: int = 2000, start: int = 1) -> list[dict]:
    """Pairs i, from `start`, whose noisy recording is i/1000 and whose clean one is i/2000 throughout."""
    return [
        {
            "noisy": item(constant(index / 1000, length), f"{index}.wav"),
            "clean": item(constant(index / 2000, length), f"{index}.wav"),
        }
        for index in range(start, start + count)
    ]


def identify(example) -> int:
    """The number of the pair that an example comes from."""
    return round(float(np.abs(np.asarray(example["input_values"])).max()) * 1000)
