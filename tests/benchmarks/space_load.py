"""Puts the app under load: many clients at once. Prints the answers, their times, and the server's memory.

    python tests/benchmarks/space_load.py [--clients 20] [--rounds 3]
    python tests/benchmarks/space_load.py --clients 6 --minutes 60 --pause 5

Starts the Space in a process of its own. Every client sends another sound. Its answer is "right" if the sources sum to
that sound, and "told to wait" if the queue is full. With any other answer the client is lost, and this exits with 1.
"""

import argparse
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import soundfile
from gradio_client import Client, handle_file


SPACE = Path(__file__).parents[2] / "spaces" / "source_separation"
RATE = 16000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="repeats rounds for this long, instead of --rounds times")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between rounds")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each sound")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, url = start(Path(folder))
        try:
            lost, end = 0, time.monotonic() + 60 * (args.minutes or 0)
            for number in itertools.count():
                lost += load(url, psutil.Process(process.pid), Path(folder), args, number)
                if time.monotonic() > end if args.minutes else number + 1 == args.rounds:
                    break
                time.sleep(args.pause)
        finally:
            process.terminate()
            process.wait(30)
    return 1 if lost else 0


def start(folder: Path) -> tuple[subprocess.Popen, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "gradio")}
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=SPACE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/"
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return process, url
        except OSError:
            time.sleep(0.5)
    process.terminate()
    raise SystemExit("the Space did not start")


def load(url: str, server: psutil.Process, folder: Path, args: argparse.Namespace, number: int) -> int:
    """Runs one round and returns how many clients were lost."""
    clients = []
    for k in range(args.clients):
        place = folder / f"{number}-{k}"
        place.mkdir()
        noise = np.random.default_rng([number, k]).normal(0, 0.1, int(args.seconds * RATE))
        soundfile.write(place / "sound.wav", noise, RATE)
        clients.append((Client(url, verbose=False, download_files=str(place / "got")), place / "sound.wav"))
    before = server.memory_info().rss
    started = time.perf_counter()
    with ThreadPoolExecutor(args.clients) as pool:
        answers = list(pool.map(lambda pair: visit(*pair), clients))
    elapsed, after = time.perf_counter() - started, server.memory_info().rss
    for client, sound in clients:
        client.close()
        shutil.rmtree(sound.parent)
    counts = Counter(answer for answer, _ in answers)
    times = sorted(seconds for _, seconds in answers)
    print(
        f"round {number + 1}: {dict(counts)} of {args.clients} clients in {elapsed:.1f} s; answers after "
        f"{times[0]:.1f} s (first), {times[len(times) // 2]:.1f} s (median), {times[-1]:.1f} s (last); "
        f"server's memory {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after",
        flush=True,
    )
    return args.clients - counts["right"] - counts["told to wait"]


def visit(client: Client, sound: Path) -> tuple[str, float]:
    started = time.perf_counter()
    try:
        files, _ = client.predict(audio=handle_file(sound), api_name="/separate")
        total = sum(soundfile.read(file, dtype="int16")[0].astype(int) for file in files)
        right = np.array_equal(total, soundfile.read(sound, dtype="int16")[0])
        answer = "right" if right else "wrong"
    except Exception as error:  # any failure of a client is counted
        answer = "told to wait" if "queue" in str(error).lower() else f"lost: {error}"
    return answer, time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
