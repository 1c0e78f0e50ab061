"""Peak memory of `dse-hf separate` on 2 hours against 10 minutes: `python tests/benchmarks/memory.py`.

It stays small itself: a process that it starts has at least its own peak, as Linux counts it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dse_hf.audio import FILE_FORMATS, AudioWriter
from dse_hf.loading import DEFAULT_MODEL, embedded_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="default: the embedded model, or a tiny one if there is none")
    parser.add_argument("--sampling-rate", type=int, default=16000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--format", default="wav", choices=FILE_FORMATS, help="of the input")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 120])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or (DEFAULT_MODEL if DEFAULT_MODEL in embedded_models() else tiny_model(folder))
        peaks = []
        for minutes in args.minutes:
            path = Path(folder, f"noisy.{args.format}")
            write_noise(path, minutes, args.sampling_rate, args.channels)
            peaks.append(peak_of_separation(path, model))
            print(
                f"{minutes:g} min, {args.channels} channel(s), {args.sampling_rate} Hz: {peaks[-1]:.1f} MiB",
                flush=True,
            )
    print(f"ratio: {peaks[-1] / peaks[0]:.3f}")


def tiny_model(folder: str) -> str:
    from dse_hf import WaveUNetConfig, WaveUNetModel

    path = os.path.join(folder, "model")
    WaveUNetModel(WaveUNetConfig(num_layers=4, channel_growth=4)).save_pretrained(path)
    return path


def write_noise(path: Path, minutes: float, sampling_rate: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    with AudioWriter(path, sampling_rate, channels, overwrite=True) as writer:
        for _ in range(round(minutes * 60)):
            writer.write(rng.normal(0, 0.1, (sampling_rate, channels)).astype(np.float32))


def peak_of_separation(path: Path, model: str) -> float:
    """Peak resident memory of the process in MiB."""
    command = [sys.executable, "-m", "dse_hf", "separate", path, "--model", model, "--overwrite", "--quiet"]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{path}: separation failed")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
