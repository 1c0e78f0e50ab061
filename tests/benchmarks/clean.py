#!/usr/bin/env python3
"""Measures `dse-hf clean`: rows per second and times real time, without the time to start.

    python tests/benchmarks/clean.py [--only speed,memory] [--rounds 2] [--short 120] [--long 8] [--device cpu]

- speed: rows of 2 s and of 60 s, by the loop that a user would write, by one process and two (one thread each), and by
  two actors of Ray; and one long file. What is compared runs in turns; the result is the best round, and ratios.
- memory: the peak of one process for 1,000 and for 10,000 short rows, with a small network.

On a machine that others use too, only what is measured by CPU time can be compared.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile


RATE = 16_000
SHORT, LONG, FILE = 2.0, 60.0, 240.0  # seconds
ENGINES = ("loop", "1 process", "2 processes", "ray, 2 actors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="speed,memory", help="sections to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--short", type=int, default=120, help="rows of 2 s (default: %(default)s)")
    parser.add_argument("--long", type=int, default=8, help="rows of 60 s (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="(default: %(default)s)")
    parser.add_argument("--engines", default=",".join(("loop", "1", "2", "ray")), help="(default: %(default)s)")
    parser.add_argument("--measure-memory", metavar="SOURCE MODEL TARGET", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_memory:
        print_peak(*args.measure_memory)
        return
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start, device {args.device}")
    if "speed" in args.only:
        speed(args)
    if "memory" in args.only:
        memory()


def write_dataset(folder: Path, rows: int, seconds: float, files: int) -> Path:
    """Parquet files with rows of noise, whose lengths differ by up to 10 %."""
    from datasets import Audio, Features, Value

    rng, features = np.random.default_rng(0), Features({"id": Value("int32"), "audio": Audio()})
    (folder / "data").mkdir(parents=True)
    for number, part in enumerate(np.array_split(np.arange(rows), files)):
        table = []
        for row in part.tolist():
            file = io.BytesIO()
            samples = rng.normal(0, 0.1, round(seconds * RATE * rng.uniform(0.9, 1)))
            soundfile.write(file, samples, RATE, format="FLAC", subtype="PCM_16")
            table.append({"id": row, "audio": {"bytes": file.getvalue(), "path": f"{row}.flac"}})
        path = folder / "data" / f"train-{number:05d}-of-{files:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(table, schema=features.arrow_schema), path, row_group_size=100)
    return folder


# ── Speed ──


def speed(args) -> None:
    import torch

    from dse_hf import load_model
    from dse_hf.separate import separate_file

    torch.set_num_threads(1)
    model = load_model(device=args.device)
    names = {"loop": ENGINES[0], "1": ENGINES[1], "2": ENGINES[2], "ray": ENGINES[3]}
    engines = [names[name] for name in args.engines.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        best: dict[tuple, tuple[float, float]] = {}

        def note(engine: str, seconds: float, speeds: tuple[float, float]) -> None:
            best[engine, seconds] = max(best.get((engine, seconds), speeds), speeds)
            print(f"  {engine}, {seconds:g} s: {speeds[0]:.1f}x real time, {speeds[1]:.1f}x per CPU", flush=True)

        file = Path(temporary, "long.flac")
        samples = np.random.default_rng(0).normal(0, 0.1, round(FILE * RATE))
        soundfile.write(file, samples, RATE, subtype="PCM_16")
        sources = {
            SHORT: write_dataset(Path(temporary, "short"), args.short, SHORT, 12),
            LONG: write_dataset(Path(temporary, "long"), args.long, LONG, args.long),
        }
        for round_number in range(args.rounds):
            for seconds, source in sources.items():
                for engine in engines:
                    target = Path(temporary, f"{engine}-{seconds}-{round_number}")
                    is_loop = engine == "loop"
                    note(engine, seconds, loop(model, source) if is_loop else ours(engine, source, target, args))
            started = clocks()
            separate_file(model, file, temporary, sources=["foreground"], file_format="flac", overwrite=True)
            note("one file", FILE, speeds_of(FILE, started, clocks()))
    print("\n| rows | engine | rows per second | times real time | per CPU second |\n|---|---|---|---|---|")
    for (engine, seconds), (wall, cpu) in sorted(best.items(), key=lambda entry: entry[0][1]):
        print(f"| {seconds:g} s | {engine} | {wall / seconds:.2f} | {wall:.1f} | {cpu:.1f} |")
    print()
    for seconds in sources:
        compare(best, ("1 process", seconds), ("one file", FILE), cpu=True)
        compare(best, ("1 process", seconds), ("loop", seconds), cpu=True)
        compare(best, ("2 processes", seconds), ("1 process", seconds))
        compare(best, (ENGINES[3], seconds), ("2 processes", seconds))


def compare(best: dict, first: tuple, second: tuple, cpu: bool = False) -> None:
    """Prints a ratio of speeds, by CPU time for what runs in one process."""
    if first in best and second in best:
        ratio = best[first][cpu] / best[second][cpu]
        print(f"{first[0]} on {first[1]:g} s is {ratio:.2f} of {second[0]} on {second[1]:g} s{' (CPU)' * cpu}")


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def speeds_of(seconds: float, start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Times real time, by the wall clock and by the CPU time of this process."""
    return seconds / (end[0] - start[0]), seconds / max(end[1] - start[1], 1e-9)


def loop(model, source: Path) -> tuple[float, float]:
    """The speeds of what a user would write."""
    import torch
    from datasets import Audio, load_dataset

    dataset = load_dataset(str(source), split="train", cache_dir=str(source / "cache"))
    dataset = dataset.cast_column("audio", Audio(decode=False))
    done, total, started = [], 0.0, clocks()
    for row in dataset:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32", always_2d=True)
        cleaned = model.separate(torch.from_numpy(samples.T.copy()), rate)["foreground"]
        file = io.BytesIO()
        soundfile.write(file, cleaned.T.numpy(), rate, format="FLAC", subtype="PCM_16")
        done.append({**row, "audio": {"bytes": file.getvalue(), "path": row["audio"]["path"]}})
        total += len(samples) / rate
    return speeds_of(total, started, clocks())


def ours(engine: str, source: Path, target: Path, args) -> tuple[float, float]:
    """The speeds between the first and the last report of progress: without the time to start."""
    from dse_hf.cleaning import clean_repository

    reports: list[tuple] = []

    def progress(state) -> None:
        reports.append((clocks(), state.seconds))

    options: dict = {"device": args.device}
    if engine.startswith("ray"):
        options = {"engine": "ray", "ray_options": {"num_actors": 2}}
    else:
        options["processes"] = int(engine[0])
    clean_repository(source, target, progress=progress, **options)
    # The first reports of both processes come when both have begun.
    (start, before), (end, after) = reports[1], reports[-1]
    wall, cpu = speeds_of(after - before, start, end)
    return wall, cpu if engine == "1 process" else float("nan")


# ── Memory ──


def memory() -> None:
    from dse_hf import WaveUNetConfig, WaveUNetModel

    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary, "model")
        WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, sampling_rate=RATE)).save_pretrained(model)
        peaks = []
        for rows in (1000, 10_000):
            source = write_dataset(Path(temporary, f"rows-{rows}"), rows, 0.5, rows // 1000)
            command = [sys.executable, __file__, "--measure-memory", source, model, Path(temporary, f"out-{rows}")]
            peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
            print(f"{rows:,} rows: {peaks[-1]:.0f} MiB at most", flush=True)
    print(f"ratio: {peaks[1] / peaks[0]:.3f}")


def print_peak(source: str, model: str, target: str) -> None:
    from dse_hf.cleaning import clean_repository

    clean_repository(source, target, model, processes=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


if __name__ == "__main__":
    main()
