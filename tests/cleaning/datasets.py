"""A small noisy dataset: short rows at several rates in several formats, and some that are broken."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from datasets import Audio, Features, List, Value

from dse_hf import WaveUNetConfig, WaveUNetModel


FEATURES = Features(
    {
        "id": Value("int32"),
        "audio": Audio(sampling_rate=16000),
        "text": Value("string"),
        "words": List(Value("string")),
        "score": Value("float64"),
        "other": Audio(),
    }
)
# Sampling rate in Hz, channels, format, codec.
KINDS = [
    (16000, 1, "FLAC", "PCM_16"),
    (8000, 1, "WAV", "PCM_16"),
    (44100, 2, "WAV", "FLOAT"),
    (22050, 1, "FLAC", "PCM_24"),
    (24000, 1, "MP3", "MPEG_LAYER_III"),
]
FILES = {  # of the dataset → numbers of their rows
    "data/train-00000-of-00002.parquet": range(120),
    "data/train-00001-of-00002.parquet": range(120, 240),
    "data/test-00000-of-00001.parquet": range(240, 300),
}
BROKEN = {  # number of the row → its item, and the first word of the reason
    3: (None, "empty"),
    50: ({"bytes": b"", "path": "50.wav"}, "empty"),
    130: ({"bytes": b"no audio at all", "path": "130.wav"}, "unreadable"),
    200: ({"bytes": "cut", "path": "200.flac"}, "unreadable"),
    299: ({"bytes": "slow", "path": "299.wav"}, "impossible"),
}


def encoded(
    seconds: float, sampling_rate=16000, channels=1, file_format="FLAC", subtype="PCM_16", seed=0, level=1
) -> bytes:
    """A file with a tone in noise."""
    time = np.arange(round(seconds * sampling_rate))[:, None] / sampling_rate
    noise = np.random.default_rng(seed).normal(0, 0.05, (len(time), channels))
    file = io.BytesIO()
    soundfile.write(
        file, level * (0.2 * np.sin(1500 * time) + noise), sampling_rate, format=file_format, subtype=subtype
    )
    return file.getvalue()


def rows(numbers) -> list[dict]:
    """Rows with these numbers."""
    return [row(number) for number in numbers]


def row(number: int) -> dict:
    rate, channels, file_format, subtype = KINDS[number % len(KINDS)]
    content = encoded(0.2 + 0.01 * (number % 20), rate, channels, file_format, subtype, seed=number)
    item = {"bytes": content, "path": f"{number}.{file_format.lower()}"}
    if number in BROKEN:
        item = BROKEN[number][0]
        if item is not None and item["bytes"] == "cut":
            item = {**item, "bytes": encoded(1.0)[:5000]}
        elif item is not None and item["bytes"] == "slow":
            item = {**item, "bytes": encoded(1.0, sampling_rate=3, file_format="WAV")}
    return {
        "id": number,
        "audio": item,
        "text": f"row {number}",
        "words": ["a", "b"][: number % 3],
        "score": None if number % 7 == 0 else number / 3,
        "other": {"bytes": b"not read", "path": None},
    }


def parquet(numbers) -> bytes:
    """A parquet file of these rows, as `datasets` writes it."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(numbers), schema=FEATURES.arrow_schema), file, row_group_size=50)
    return file.getvalue()


def tiny_model(folder) -> str:
    """Saves a small network with random weights."""
    import torch

    torch.manual_seed(0)
    WaveUNetModel(WaveUNetConfig(n_layers=2, F_c=4, sampling_rate=16000)).save_pretrained(folder)
    return str(folder)
