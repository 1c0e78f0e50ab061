#!/usr/bin/env python3
"""Measures the speed and memory of separation. What is compared runs in turns; the result is a median and a ratio.

    python tests/benchmarks/inference.py [--only ratios,tiles,file,latency,rss] [--rounds 5] [--threads 2]

- ratios: compares `separate`, the plain forward pass in one piece, ONNX Runtime and, if it is installed (`pip install
  --no-deps denoisers`), denoisers on the same audio. Also prints which share of this processor's speed they reach.
- tiles: compares networks with padding "valid" and "same" on long audio.
- file: compares `separate_file` with the network alone.
- latency: times the command line for a short file, and the import of torch.
- rss: measures the peak memory of the command line for short and long files.

On a machine that others use too, compare the CPU time, not the wall time.
"""

import argparse
import copy
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from memory import write_noise
from torch.utils.flop_counter import FlopCounterMode

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.separate import separate_file


try:
    from dse_hf.models.modeling_waveunet_frames import FrameConvolution, has_fused_convolution
except ImportError:  # in older versions, which this compares with
    from dse_hf.models.modeling_waveunet_fast import FrameConvolution, has_fused_convolution


SHORT = 131_073  # samples; the plain forward pass is fastest at this length
RATE = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default="ratios,tiles,file,latency,rss", help="sections to run (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="(default: %(default)s)")
    parser.add_argument(
        "--networks", default="paper,embedded", help="networks of the section ratios (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", default="1,10,60,120", help="lengths of the files of the section rss (default: %(default)s)"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    load = os.getloadavg()[0]
    print(f"{machine()}; {args.threads} threads; load {load:.1f} before the start; torch {torch.__version__}")
    sections = {"ratios": ratios, "tiles": tiles, "file": file, "latency": latency, "rss": rss}
    for name in args.only.split(","):
        print(f"\n== {name}")
        with torch.no_grad():
            sections[name](args)


def machine() -> str:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
        lines = {key.strip(): value.strip() for key, value in lines.items()}
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    features = " ".join(word for word in lines.get("flags", "").split() if word in wanted)
    return f"{lines.get('model name', platform.machine())}, {os.cpu_count()} cores, {features}"


def by_turns(paths: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Runs every path once per round; returns the median wall time and CPU time of each, in seconds."""
    taken = {name: [] for name in paths}
    for number in range(rounds + 1):
        for name, path in paths.items():
            wall, cpu = time.perf_counter(), time.process_time()
            path()
            if number:  # the first one warms up
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(statistics.median(column) for column in zip(*times)) for name, times in taken.items()}


# ── ratios ──


def paper_model(padding: str = "same") -> WaveUNetModel:
    model = WaveUNetModel(WaveUNetConfig(padding=padding, sampling_rate=RATE)).eval()
    model.config.name_or_path = f"12 layers, F_c 24, {padding}"
    return model


def peaks() -> tuple[dict, dict]:
    """Matrix products and convolutions that measure the processor, and the floating-point operations of each."""
    paths, operations = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        if not has_fused_convolution(torch.zeros(1, dtype=dtype)):
            continue
        name = str(dtype).removeprefix("torch.")
        square, frames = torch.randn(2048, 2048).to(dtype), torch.randn(8206, 96).to(dtype)
        convolution = FrameConvolution(torch.randn(120, 96, 15).to(dtype), fused=True)
        paths[f"GEMM 2048³ {name}"] = lambda square=square: square @ square
        paths[f"convolution 96→120, 15 taps {name}"] = lambda conv=convolution, frames=frames: conv(frames)
        operations |= dict(zip(list(paths)[-2:], (2 * 2048**3, 2 * 96 * 120 * 15 * 8192)))
    return paths, operations


def ratios(args) -> None:
    for name in args.networks.split(","):
        model = paper_model() if name == "paper" else load_model()
        label = "embedded default" if name == "embedded" else model.config.name_or_path
        for length in (SHORT, 30 * RATE):
            length = model.config.input_length_for(length)
            paths, operations = peaks()
            count = len(paths)
            paths |= rivals(model, torch.rand(1, length) * 0.2 - 0.1, with_denoisers=name == "paper")
            times = by_turns(paths, args.rounds)
            print(f"\n{label}: {length:,} samples, {length / RATE:.1f} s at {RATE} Hz")
            for path in list(paths)[:count]:
                print(f"  {path:42} {operations[path] / times[path][0] / 1e9:7.0f} GFLOP/s wall")
            peak = {path.split()[-1]: operations[path] / times[path][1] for path in list(paths)[:count] if "→" in path}
            show(list(paths)[count:], times, length / RATE, flops(model, length), peak)


def show(paths: list[str], times: dict, seconds: float, operations: int, peak: dict) -> None:
    print(
        "  path                         wall ms   CPU ms  × real time  × plain: wall, CPU  share of conv. peak (CPU)"
    )
    plain = times["plain forward"]
    for path in paths:
        wall, cpu = times[path]
        dtype = "bfloat16" if "bfloat16" in path else "float32"
        share = f"{100 * operations / cpu / peak[dtype]:8.0f}%" if dtype in peak else ""
        ratio = f"{plain[0] / wall:9.2f} {plain[1] / cpu:8.2f}"
        print(f"  {path:26} {1e3 * wall:9.0f} {1e3 * cpu:8.0f} {seconds / wall:12.1f} {ratio} {share}")


def flops(model, length: int) -> int:
    """Floating-point operations of the network as the paper draws it."""
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model.network).to("meta").predict_sources(torch.zeros(1, 1, length, device="meta"))
    return passes(model) * counter.get_total_flops()


def passes(model) -> int:
    """How often each sample goes through the network."""
    names = ("average_polarity_flip", "both_polarities")  # the second one is the older name
    return 2 if any(getattr(model.config, name, False) for name in names) else 1


def rivals(model, waveform: torch.Tensor, with_denoisers: bool) -> dict:
    half, signals = copy.deepcopy(model).bfloat16(), [waveform[None], -waveform[None]][: passes(model)]
    paths = {
        "plain forward": lambda: [model.network.predict_sources(signal) for signal in signals],
        "separate": lambda: model.separate(waveform, RATE),
        "plain forward bfloat16": lambda: [half.network.predict_sources(signal.bfloat16()) for signal in signals],
        "separate bfloat16": lambda: half.separate(waveform, RATE),
    }
    try:
        import onnxruntime

        from dse_hf.export import export_onnx
    except ImportError:
        print("  onnxruntime: not installed")
    else:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(model, Path(folder, "model.onnx"))
            session = onnxruntime.InferenceSession(Path(folder, "model.onnx"), options, ["CPUExecutionProvider"])
        mixture = waveform[None].numpy()
        paths["ONNX Runtime"] = lambda: session.run(None, {"mixture": mixture})
    if with_denoisers:
        try:
            from denoisers import WaveUNetConfig as TheirConfig
            from denoisers import WaveUNetModel as TheirModel
        except ImportError:
            print("  denoisers: not installed")
        else:
            theirs = TheirModel(TheirConfig()).eval()  # 12 layers, 24 to 288 channels, 15/5
            size = theirs.config.max_length
            chunks = torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % size)).split(size, dim=-1)
            paths["denoisers"] = lambda: [theirs(chunk[None]).audio for chunk in chunks]
    return paths


# ── the other sections ──


def tiles(args) -> None:
    for seconds in (30, 120):
        waveform = torch.rand(1, seconds * RATE) * 0.2 - 0.1
        models = {padding: paper_model(padding) for padding in ("same", "valid")}
        paths = {
            padding: lambda model=model, waveform=waveform: model.separate(waveform, RATE)
            for padding, model in models.items()
        }
        times = by_turns(paths, args.rounds)
        for padding, (wall, cpu) in times.items():
            ratio = f"{times['same'][0] / wall:.2f} wall, {times['same'][1] / cpu:.2f} CPU of the speed of same"
            print(f"{seconds:4} s, {padding:5}: {seconds / wall:6.1f} × real time, {ratio}")


class NetworkTime:
    """A model whose streams measure the time that they take."""

    def __init__(self, model):
        self.model, self.config, self.wall, self.cpu = model, model.config, 0.0, 0.0

    def separation_stream(self):
        stream = self.model.separation_stream()
        stream.push, stream.flush = self._timed(stream.push), self._timed(stream.flush)
        return stream

    def _timed(self, step):
        def timed(*arguments):
            wall, cpu = time.perf_counter(), time.process_time()
            sources = step(*arguments)
            self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu
            return sources

        return timed


def file(args) -> None:
    model = load_model()
    with tempfile.TemporaryDirectory() as folder:
        for rate, channels, kind in ((16_000, 1, "wav"), (44_100, 2, "wav"), (44_100, 2, "mp3")):
            path = Path(folder, f"noisy.{kind}")
            write_noise(path, 4, rate, channels)
            rows = []
            for _ in range(args.rounds):
                network, wall, cpu = NetworkTime(model), time.perf_counter(), time.process_time()
                separate_file(network, path, folder, overwrite=True)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                rows.append((240 / wall, wall / network.wall - 1, cpu / network.cpu - 1))
            speed, more_wall, more_cpu = map(statistics.median, zip(*rows))
            more = f"{100 * more_wall:.0f}% wall, {100 * more_cpu:.0f}% CPU more than the network alone"
            print(f"4 min, {rate} Hz, {channels} channel(s), {kind}: {speed:.1f} × real time, {more}")


def latency(args) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "noisy.wav")
        write_noise(path, 5 / 60, RATE, 1)
        commands = {
            "python -c 'import torch'": ["-c", "import torch"],
            "dse-hf separate, 5 s": ["-m", "dse_hf", "separate", str(path), "--overwrite", "--quiet"],
            "dse-hf separate --help": ["-m", "dse_hf", "separate", "--help"],
        }
        taken = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                wall, used = time.perf_counter(), children_cpu()
                subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
                taken[name].append((time.perf_counter() - wall, children_cpu() - used))
        for name, times in taken.items():
            wall, cpu = map(statistics.median, zip(*times))
            print(f"{name:26} {wall:6.2f} s wall, {cpu:6.2f} s CPU")


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rss(args) -> None:
    script = Path(__file__).with_name("memory.py")
    subprocess.run([sys.executable, script, "--minutes", *args.minutes.split(",")], check=True)


if __name__ == "__main__":
    main()
