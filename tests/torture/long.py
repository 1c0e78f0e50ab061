"""Separates a recording of eight hours. Every sample must be in its place, and memory must not grow."""

from pathlib import Path

import numpy as np
import soundfile
import torch

import dse_hf

from .trials import RIGHT, Case, Trial, check


RATE = 1000  # Hz, of the recording and the model. It is the lowest possible rate, so that eight hours take minutes.
HOURS = 8
FRAMES = HOURS * 3600 * RATE + 1  # not a multiple of anything
_BLOCK = 2**20
_SAMPLE_BITS = {"PCM_16": 16, "PCM_24": 24}


def samples_at(start: int, count: int, bits: int) -> np.ndarray:
    """A part of the synthetic recording, (count,) int64: noise at half of full scale that depends on the position."""
    time = np.arange(start, start + count, dtype=np.uint64)
    mixed = (time * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)) >> np.uint64(33)
    mixed ^= mixed >> np.uint64(15)
    half = 2 ** (bits - 1)
    return (mixed % np.uint64(half)).astype(np.int64) - half // 2


def write_recording(path: Path, subtype: str) -> None:
    bits = _SAMPLE_BITS[subtype]
    with soundfile.SoundFile(path, "w", RATE, 1, subtype=subtype) as file:
        for start in range(0, FRAMES, _BLOCK):
            block = samples_at(start, min(_BLOCK, FRAMES - start), bits)
            file.write((block << (32 - bits)).astype(np.int32))


def run_eight_hours(case: Case) -> str:
    """The sources must sum to the recording exactly, and the foreground must equal that of short pieces."""
    subtype, file_format = case.pick([("PCM_24", "w64"), ("PCM_16", "flac")])
    bits, path = _SAMPLE_BITS[subtype], case.folder / f"long.{file_format}"
    write_recording(path, subtype)
    torch.manual_seed(0)
    config = dse_hf.WaveUNetConfig(num_layers=2, channel_growth=4, sampling_rate=RATE)
    network = dse_hf.WaveUNetModel(config).eval()
    result = dse_hf.separate_file(network, path, case.folder / "out", file_format=file_format, block_seconds=600)
    check(result.frames == FRAMES, f"{result.frames} samples and not {FRAMES}")
    with (
        soundfile.SoundFile(result.outputs["foreground"]) as front,
        soundfile.SoundFile(result.outputs["background"]) as back,
    ):
        check((front.frames, back.frames) == (FRAMES, FRAMES), f"files of {front.frames} and {back.frames} samples")
        for start in range(0, FRAMES, _BLOCK):
            total = sum(file.read(_BLOCK, dtype="int32").astype(np.int64) >> (32 - bits) for file in (front, back))
            expected = samples_at(start, len(total), bits)
            wrong = np.count_nonzero(total != expected)
            check(wrong == 0, f"{wrong} samples differ from the input after sample {start}")
        for start in (0, *case.rng.integers(0, FRAMES - 4000, 5), FRAMES - 3000):
            _check_piece(network, front, int(start), bits)
    return RIGHT


def _check_piece(network, front: soundfile.SoundFile, start: int, bits: int) -> None:
    """Compares 3,000 samples of the foreground with the separation of them alone, with the context of the network."""
    margin = network.config.receptive_field
    first, last = max(0, start - margin), min(FRAMES, start + 3000 + margin)
    piece = samples_at(first, last - first, bits) / 2.0 ** (bits - 1)
    # Pieces start on the network's grid, as tiles do.
    surplus = first % network.config.alignment
    piece = np.concatenate([samples_at(first - surplus, surplus, bits) / 2.0 ** (bits - 1), piece])
    alone = network.separate(torch.from_numpy(piece[None]).float(), RATE)["foreground"][0, surplus + start - first :]
    front.seek(start)
    written = front.read(3000, dtype="float64")
    error = float(np.abs(written - alone[:3000].double().numpy()).max())
    check(error < 1e-5 + 2.0 ** (1 - bits), f"the foreground at sample {start} is off by {error:.2g}")


TRIALS = [Trial("eight-hours", run_eight_hours, most=2, seconds=1800, megabytes=512)]
