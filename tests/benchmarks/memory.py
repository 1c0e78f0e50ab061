"""Compares the peak memory of `dse-hf separate` on 2 hours and on 10 minutes: `python tests/benchmarks/memory.py`.

This process must stay small: Linux counts the peak of a new process from that of the process that starts it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dse_hf.audio import FILE_FORMATS, AudioWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="(default: the embedded default)")
    parser.add_argument("--sampling-rate", type=int, default=16000)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument(
        "--format", default="wav", choices=FILE_FORMATS, help="format of the input (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 120])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for minutes in args.minutes:
            path = Path(folder, f"noisy.{args.format}")
            write_noise(path, minutes, args.sampling_rate, args.channels)
            peaks.append(peak_of_separation(path, args.model))
            print(
                f"{minutes:g} min, {args.channels} channel(s), {args.sampling_rate} Hz: {peaks[-1]:.1f} MiB",
                flush=True,
            )
    print(f"ratio: {peaks[-1] / peaks[0]:.3f}")


def write_noise(path: Path, minutes: float, sampling_rate: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    with AudioWriter(path, sampling_rate, channels, overwrite=True) as writer:
        for _ in range(round(minutes * 60)):
            writer.write(rng.normal(0, 0.1, (sampling_rate, channels)).astype(np.float32))


def peak_of_separation(path: Path, model: str | None) -> float:
    """Separates the file in a new process and returns its peak resident memory in MiB."""
    command = [sys.executable, "-m", "dse_hf", "separate", path, "--overwrite", "--quiet"]
    command += ["--model", model] if model else []
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{path}: separation failed")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
