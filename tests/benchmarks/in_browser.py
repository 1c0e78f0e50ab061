"""Measures the page of `spaces/in_browser` in headless Chromium: sizes, quality, speed, memory, resampling.

    python tests/benchmarks/in_browser.py                # all tables
    python tests/benchmarks/in_browser.py --only speed

Of the same files, ONNX Runtime outside of the browser gives the speeds to compare with.
"""

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
import soundfile
import soxr
import torch
from playwright.sync_api import sync_playwright

from dse_hf.app.in_browser import SPACE, page_server
from dse_hf.evaluation.metrics import si_sdr


EXAMPLE = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example"
WEIGHTS = ("float32", "float16", "int8")
RATE = 16000
WAIT = 600_000  # ms
# The page's resampler and the browser's own, of samples at one rate.
RESAMPLERS = {
    "page": """async ([samples, rate, other]) => {
        const { Resampler } = await import("/js/resample.js");
        const resampler = new Resampler(rate, other);
        return [...resampler.push(Float32Array.from(samples)), ...resampler.flush()];
    }""",
    "OfflineAudioContext": """async ([samples, rate, other]) => {
        const context = new OfflineAudioContext(1, Math.ceil(samples.length * other / rate), other);
        const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
        buffer.copyToChannel(Float32Array.from(samples), 0);
        const source = new AudioBufferSourceNode(context, { buffer });
        source.connect(context.destination);
        source.start();
        return [...(await context.startRendering()).getChannelData(0)];
    }""",
}
LIBSAMPLERATE = """
const { create, ConverterType } = require("@alexanderolsen/libsamplerate-js");
const [samples, rate, other] = JSON.parse(require("fs").readFileSync(0));
create(1, rate, other, { converterType: ConverterType.SRC_SINC_BEST_QUALITY })
    .then((src) => console.log(JSON.stringify([...src.full(Float32Array.from(samples))])));
"""
LONG_TASKS = """() => {
    window.longest = 0;
    const seen = (list) => list.getEntries().forEach((entry) => (window.longest = Math.max(longest, entry.duration)));
    new PerformanceObserver(seen).observe({ type: "longtask" });
}"""


def build(folder: Path, weights: str) -> Path:
    page = folder / weights
    command = [sys.executable, str(SPACE / "build.py"), str(page), "--weights", weights]
    subprocess.run(command, check=True, capture_output=True)
    return page


def model_of(page: Path) -> bytes:
    return gzip.decompress((page / "model.bin").read_bytes())


def show_sizes(pages: dict[str, Path]) -> None:
    noisy, clean = (soundfile.read(EXAMPLE / f"{name}.wav", dtype="float32")[0] for name in ("noisy", "clean"))
    reference = None
    print("| weights | download, MB | SI-SDR of the example, dB | SNR against float32, dB |\n|---|---|---|---|")
    for weights, page in pages.items():
        session = onnxruntime.InferenceSession(model_of(page), providers=["CPUExecutionProvider"])
        foreground = session.run(None, {"mixture": noisy[None, None]})[0][0, 0, 0]
        reference = foreground if reference is None else reference
        noise = np.sum(np.square(foreground - reference))
        snr = 10 * np.log10(np.sum(np.square(reference)) / noise) if noise else np.inf
        score = float(si_sdr(torch.from_numpy(foreground)[None], torch.from_numpy(clean)[None]))
        print(f"| {weights} | {(page / 'model.bin').stat().st_size / 1e6:.1f} | {score:.2f} | {snr:.1f} |")
    for name in ("wasm", "webgpu"):
        print(f"ONNX Runtime Web, {name}: {(page / f'vendor/ort.{name}.bin').stat().st_size / 1e6:.1f} MB")


def show_speeds(browser, pages: dict[str, Path], seconds: float, folder: Path) -> None:
    noisy, _ = soundfile.read(EXAMPLE / "noisy.wav")
    soundfile.write(folder / "sound.wav", np.resize(noisy, round(seconds * RATE)), RATE)
    print(
        "\n| weights | threads | in Chromium | native | per processor second | native | longest task of the page, ms |"
    )
    print("|---|---|---|---|---|---|---|")
    for weights, page in pages.items():
        for backend, threads in (("single", 1), ("threads", os.cpu_count())):
            ours, longest = in_chromium(browser, page, backend, folder / "sound.wav")
            theirs = natively(page, threads)
            cells = [weights, threads, *(f"{x:.1f}" for pair in zip(ours, theirs) for x in pair), f"{longest:.0f}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


def in_chromium(browser, page_folder: Path, backend: str, sound: Path) -> tuple[tuple[float, float], float]:
    """How many seconds are separated in one, and in one of processor time; the longest task of the page in ms."""
    session = browser.new_browser_cdp_session()

    def processor_seconds() -> float:
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(process["cpuTime"] for process in processes if process["type"] == "renderer")

    with served(page_folder) as url:
        page = browser.new_context().new_page()
        page.goto(url)
        page.locator(f"#backend option[value={backend}]").wait_for(state="attached")
        page.get_by_text("Settings").click()
        page.get_by_label("Computed by").select_option(backend)
        page.get_by_role("button", name="Speech beside a train").click()  # loads the model
        page.locator("body[data-done='1']").wait_for(timeout=WAIT)
        page.evaluate(LONG_TASKS)
        used = processor_seconds()
        page.locator("#file").set_input_files(sound)
        page.locator("body[data-done='2']").wait_for(timeout=WAIT)
        used = processor_seconds() - used
        words = page.locator("#facts").inner_text()
        longest = page.evaluate("window.longest")
        page.context.close()
    speed = float(words.partition(" times real time")[0].split()[-1])
    return (speed, soundfile.info(sound).duration / used), longest


def natively(page: Path, threads: int) -> tuple[float, float]:
    """As `in_chromium`, with the tiles of the page."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model_of(page), options, providers=["CPUExecutionProvider"])
    model = json.loads((page / "files.json").read_text())["model"]
    kept = 16 * RATE  # a tile of the page
    window = np.random.default_rng(0).standard_normal((1, 1, kept + 2 * model["context"]), np.float32) / 10
    took = []
    for _ in range(4):
        started = time.perf_counter(), time.process_time()
        session.run(None, {"mixture": window})
        took.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return kept / RATE / min(wall for wall, _ in took), kept / RATE / min(processor for _, processor in took)


def show_memory(browser, page_folder: Path, folder: Path) -> None:
    noisy, _ = soundfile.read(EXAMPLE / "noisy.wav")
    print("\n| sound, minutes | most memory of the page's process, MB |\n|---|---|")
    with served(page_folder) as url:
        page = browser.new_page()
        page.goto(url)
        for run, minutes in enumerate((1, 8), 1):
            soundfile.write(folder / "sound.wav", np.resize(noisy, minutes * 60 * RATE), RATE)
            page.locator("#file").set_input_files(folder / "sound.wav")
            most = 0
            while not page.locator(f"body[data-done='{run}']").count():
                processes = psutil.Process().children(recursive=True)
                renderers = [process for process in processes if "--type=renderer" in process.cmdline()]
                most = max([most, *(process.memory_info().rss for process in renderers)])
                page.wait_for_timeout(2000)
            print(f"| {minutes} | {most / 1e6:.0f} |", flush=True)
        page.close()


def show_resampling(browser, page_folder: Path, folder: Path) -> None:
    speech, _ = soundfile.read(EXAMPLE / "clean.wav")
    noise = np.random.default_rng(0).standard_normal(RATE) / 10
    subprocess.run(["npm", "install", "--silent", "@alexanderolsen/libsamplerate-js@2.1.2"], cwd=folder, check=True)
    header = " | ".join(["from, Hz", "to, Hz", "sound", *RESAMPLERS, "libsamplerate"])
    print(f"\n| {header} |\n|---|---|---|---|---|---|")
    with served(page_folder) as url:
        page = browser.new_page()
        page.goto(url)
        for rate, other in ((44100, RATE), (48000, RATE), (RATE, 44100), (RATE, 48000), (8000, RATE)):
            for name, sound in (("speech", speech), ("white noise", noise)):
                samples = soxr.resample(sound[: 3 * RATE], RATE, rate) if name == "speech" else np.resize(noise, rate)
                given = [samples.astype(np.float32).tolist(), rate, other]
                found = [page.evaluate(code, given) for code in RESAMPLERS.values()]
                command = ["node", "-e", LIBSAMPLERATE]
                done = subprocess.run(command, cwd=folder, input=json.dumps(given), capture_output=True, text=True)
                found.append(json.loads(done.stdout.strip().splitlines()[-1]))
                wanted = soxr.resample(samples.astype(np.float32), rate, other, quality="VHQ")
                cells = " | ".join(f"{closeness(wanted, np.array(samples)):.0f}" for samples in found)
                print(f"| {rate} | {other} | {name} | {cells} |", flush=True)
        page.close()


def closeness(wanted: np.ndarray, found: np.ndarray) -> float:
    """The ratio of a signal to its difference from another one in dB, without the ends."""
    length = min(len(wanted), len(found))
    inner = slice(length // 10, -length // 10)
    wanted, found = wanted[:length][inner], found[:length][inner]
    return 10 * np.log10(np.sum(np.square(wanted)) / np.sum(np.square(wanted - found)))


class served:
    """The address of a page that a server shows."""

    def __init__(self, page: Path):
        self.server = page_server(page, "127.0.0.1", 0)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of the sound for the speed (default: %(default)s)")
    parser.add_argument("--only", choices=("sizes", "speed", "memory", "resampling"))
    parser.add_argument("--weights", nargs="+", default=WEIGHTS, choices=WEIGHTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        pages = {weights: build(folder, weights) for weights in args.weights}
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if args.only in (None, "sizes"):
            show_sizes(pages)
        if args.only in (None, "resampling"):
            show_resampling(browser, next(iter(pages.values())), folder)
        if args.only in (None, "speed"):
            show_speeds(browser, pages, args.seconds, folder)
        if args.only in (None, "memory"):
            show_memory(browser, next(iter(pages.values())), folder)
        browser.close()


if __name__ == "__main__":
    main()
