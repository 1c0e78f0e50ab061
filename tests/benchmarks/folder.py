"""Start-up, and a folder of files that is killed and continued: `python tests/benchmarks/folder.py` (Linux)."""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile


COMMAND = [sys.executable, "-m", "dse_hf", "separate"]
RATE = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seconds", type=float, nargs=2, default=[4, 8], help="shortest and longest file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start_up(Path(folder))
        noisy, results = Path(folder, "noisy"), Path(folder, "clean")
        write_files(noisy, args.files, *args.seconds)
        print(f"{args.files} files of {args.seconds[0]:g} to {args.seconds[1]:g} s:")
        separate_folder(noisy, results, stop_after=args.files // 3)
        separate_folder(noisy, results)


def start_up(folder: Path) -> None:
    """Prints the processor time of 7 s of sound, and of the import of torch in it; each the least of three."""
    write_files(folder / "one", 1, 7, 7)
    torch = min(processor_seconds([sys.executable, "-c", "import torch"]) for _ in range(3))
    command = [*COMMAND, str(folder / "one"), "-o", str(folder / "out"), "--overwrite", "--quiet"]
    whole = min(processor_seconds(command) for _ in range(3))
    print(f"7 s of sound: {whole:.2f} s of processor time, of which import torch {torch:.2f} s")


def processor_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_files(folder: Path, count: int, shortest: float, longest: float) -> None:
    """Writes files of noise, of all lengths, into folders of a hundred."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // 100:02}" / f"{number:05}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = round(rng.uniform(shortest, longest) * RATE)
        soundfile.write(path, 0.1 * rng.standard_normal(length), RATE)


def separate_folder(noisy: Path, results: Path, stop_after: int | None = None) -> None:
    """Separates what is not separated yet. Kills the process after some files, if told to. Prints time and memory."""
    before, started, memory = count(results), time.monotonic(), []
    process = subprocess.Popen([*COMMAND, str(noisy), "-o", str(results), "--skip-existing", "--quiet"])
    while process.poll() is None:
        time.sleep(0.2)
        done = count(results) - before
        memory.append((done, resident_megabytes(process.pid)))
        if stop_after is not None and done >= stop_after:
            process.send_signal(signal.SIGKILL)
            process.wait()
    done, seconds = count(results) - before, time.monotonic() - started
    if stop_after is None and (process.returncode != 0 or count(results) != count(noisy)):
        raise SystemExit(f"exit status {process.returncode}, {count(results)} of {count(noisy)} files done")
    for path in results.rglob("*.wav"):
        if soundfile.info(path).frames == 0:
            raise SystemExit(f"{path} is not complete")
    tenth = max(size for files, size in memory if files <= 10)
    most = max(size for _, size in memory)
    end = "killed" if stop_after is not None else "finished"
    print(
        f"  {done} files, {end} after {seconds:.0f} s; resident memory up to the tenth file {tenth:.0f} MB, "
        f"up to the last {most:.0f} MB, ratio {most / tenth:.3f}",
        flush=True,
    )


def count(folder: Path) -> int:
    """The recordings, or the separated ones, in a folder."""
    names = (name for _, _, files in os.walk(folder) for name in files if not name.startswith("."))
    return sum(".background." not in name for name in names)


def resident_megabytes(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    main()
