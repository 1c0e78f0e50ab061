"""Times `file_format="same"` on long films, and checks that sound and pictures stay together.

`python tests/benchmarks/video.py` makes a film with two audio tracks and subtitles, separates its first track with a
model that changes nothing, and prints the time, the peak memory, the largest shift of the sound in samples, and
whether all other packets are the same. This process must stay small: Linux counts the peak of a new process from
that of the process that starts it.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path


RATE = 48000
BURST = 960  # samples of noise, of 20 ms, once every 10 s
CODECS = {
    "mp4": ("mpeg4", "aac", "mov_text"),
    "mov": ("mpeg4", "aac", "mov_text"),
    "mkv": ("mpeg4", "aac", "subrip"),
    "webm": ("libvpx", "libopus", "webvtt"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 120])
    parser.add_argument("--format", default="mp4", choices=CODECS, help="(default: %(default)s)")
    parser.add_argument("--step", choices=["write", "separate", "check"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        {"write": write, "separate": separate, "check": check}[args.step](args.path, args.minutes[0])
        return
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"film.{args.format}")
            for step in ("write", "separate", "check"):
                seconds, peak = run(step, path, minutes)
                print(f"{args.format}, {minutes:g} min: {step} {seconds:.1f} s, {peak:.0f} MiB", flush=True)


def run(step: str, path: Path, minutes: float) -> tuple[float, float]:
    """Runs a step in a new process. Returns its processor time in seconds and its peak resident memory in MiB."""
    started = [sys.executable, __file__, "--step", step, "--path", path, "--minutes", str(minutes)]
    _, status, usage = os.wait4(subprocess.Popen(started).pid, 0)
    if status != 0:
        raise SystemExit(f"{path}: {step} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def result_of(path: Path) -> Path:
    return path.with_name(f"film.foreground{path.suffix}")


# ── The film ──


def write(path: Path, minutes: float) -> None:
    import av
    import numpy as np

    picture_codec, audio_codec, subtitle_codec = CODECS[path.suffix[1:]]
    with av.open(str(path), "w") as film:
        pictures = film.add_stream(picture_codec, rate=25)
        pictures.width = pictures.height = 32
        tracks = [film.add_stream(audio_codec, rate=RATE, bit_rate=96_000) for _ in range(2)]
        for track in tracks:
            track.layout = "mono"
        subtitles = film.add_mux_stream(subtitle_codec, time_base=Fraction(1, 1000))
        film.set_chapters(
            [{"id": 1, "start": 0, "end": round(minutes * 60_000), "time_base": Fraction(1, 1000), "metadata": {}}]
        )
        pixels = np.zeros((32, 32, 3), np.uint8)
        for second in range(round(minutes * 60)):
            for number in range(25):
                pixels[:] = (second + number) % 256
                picture = av.VideoFrame.from_ndarray(pixels, "rgb24")
                picture.pts, picture.time_base = 25 * second + number, Fraction(1, 25)
                film.mux(pictures.encode(picture))
            for number, track in enumerate(tracks):
                samples = sound(second) if number == 0 else np.zeros(RATE, np.float32)
                frame = av.AudioFrame.from_ndarray(samples[None], "flt", "mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, second * RATE, Fraction(1, RATE)
                film.mux(track.encode(frame))
            if second % 5 == 0:
                text = f"second {second}".encode()
                packet = av.Packet(len(text).to_bytes(2, "big") + text if subtitle_codec == "mov_text" else text)
                packet.stream, packet.time_base, packet.duration = subtitles, Fraction(1, 1000), 3000
                packet.pts = packet.dts = 1000 * second
                film.mux(packet)
        for stream in (pictures, *tracks):
            film.mux(stream.encode(None))


def sound(second: int):
    """One second of the first track: faint noise and, once every 10 s, a burst that begins after 0.1 to 0.9 s."""
    import numpy as np

    rng = np.random.default_rng(second)
    samples = rng.normal(0, 0.001, RATE).astype(np.float32)
    if second % 10 == 0:
        begin = rng.integers(RATE // 10, 9 * RATE // 10)
        noise = np.convolve(rng.normal(0, 0.3, BURST), np.hanning(9) / 4, "same") * np.hanning(BURST)
        samples[begin : begin + BURST] += noise.astype(np.float32)
    return samples


# ── Separation and check ──


class Unchanged:
    """A model whose foreground is its input."""

    def __init__(self):
        from types import SimpleNamespace

        self.config = SimpleNamespace(sampling_rate=RATE, sources=["foreground", "background"])

    def separation_stream(self):
        return self

    def push(self, block):
        import torch

        return torch.stack([block, torch.zeros_like(block)], dim=1)

    def flush(self):
        import torch

        return torch.zeros(1, 2, 1, 0)


def separate(path: Path, minutes: float) -> None:
    from dse_hf.separate import separate_file

    started = time.perf_counter()
    separate_file(Unchanged(), path, sources=["foreground"], file_format="same", track=1)
    print(f"  {time.perf_counter() - started:.1f} s, {path.stat().st_size / 2**20:.1f} MiB", flush=True)


def check(path: Path, minutes: float) -> None:
    before, after = (digests(file) for file in (path, result_of(path)))
    print(f"  other packets: {'the same' if before == after else 'CHANGED'}, {sum(n for n, _ in before.values()):,}")
    for name, file in {"input": path, "output": result_of(path)}.items():
        shifts = [abs(shift) for shift in shifts_of(file)]
        print(f"  bursts of the {name}: {len(shifts)}, at most {max(shifts)} samples from where they were put")


def digests(path: Path) -> dict[int, tuple[int, str]]:
    """The number of packets, and a digest of their times and contents, of all streams but the first audio track."""
    import av

    found: dict[int, tuple] = {}
    with av.open(str(path)) as film:
        without = film.streams.audio[0].index
        for packet in film.demux():
            index = packet.stream.index
            if index != without and not (packet.size == 0 and packet.dts is None):
                count, digest = found.setdefault(index, (0, hashlib.sha256()))
                times = [time and time * packet.time_base for time in (packet.pts, packet.dts, packet.duration)]
                digest.update(str(times).encode() + bytes(packet))
                found[index] = (count + 1, digest)
    return {index: (count, digest.hexdigest()) for index, (count, digest) in found.items()}


def shifts_of(path: Path):
    """Yields the samples by which each burst of the first track is late, from the highest correlation."""
    import numpy as np

    from dse_hf.audio import AudioReader

    with AudioReader(path, track=1) as reader:
        position = round(reader.start * RATE)
        heard, second = np.zeros(position, np.float32), 0
        for block in reader:
            heard = np.concatenate([heard, block[:, 0]])
            while len(heard) >= RATE:
                if second % 10 == 0:
                    spectrum = np.fft.rfft(heard[:RATE], 2 * RATE) * np.fft.rfft(sound(second), 2 * RATE).conj()
                    late = int(np.argmax(np.fft.irfft(spectrum)))
                    yield late if late < RATE else late - 2 * RATE
                heard, second = heard[RATE:], second + 1


if __name__ == "__main__":
    main()
