"""The app's work on sounds: checks, separation, mixing and scores. This module does not use Gradio."""

import contextlib
import ctypes
import gc
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio import AudioReader, AudioWriter, read_audio
from ..data.augmentation import gain_for_snr, rms
from ..data.noises import ColouredNoise, MainsHum
from ..separate import separate_file


MAX_SECONDS = 120  # length of a sound to separate
MAX_MEGABYTES = 50  # size of an upload
MAX_CHANNELS = 8
MIX_SECONDS = 30  # length of a mixture
MIX_RATE = 16000  # sampling rate of a mixture, in Hz
MAX_DRAWN_RATE = 48000  # of pictures, in Hz
EXAMPLES = Path(__file__).parent / "examples"
OWN_NOISE = "your own file"
NOISE_TYPES = ("train", "coloured noise", "mains hum", OWN_NOISE)
SHOWN_METRICS = ["si_sdr", "pesq", "stoi"]


@dataclass
class Separation:
    """A separated sound. The dicts have `"input"` and the name of each source."""

    files: dict[str, Path]
    levels: dict[str, float]  # RMS, in dBFS
    waveforms: dict[str, np.ndarray]  # (T,), for pictures
    drawn_rate: int  # sampling rate of the waveforms, in Hz
    seconds: float

    def changes(self) -> dict[str, float]:
        """Source → its level minus the level of the input, in dB."""
        return {name: level - self.levels["input"] for name, level in self.levels.items() if name != "input"}


def separate_sound(model, path: str | None, folder: Path, progress: Callable[[float, str], None]) -> Separation:
    """Separates a file into files in `folder`. `progress` is called with the fraction that is done and a description.

    Errors are those of [`check_sound`].
    """
    path = check_sound(path, MAX_SECONDS)

    def move(seconds: float, total: float | None) -> None:
        if seconds > MAX_SECONDS:  # the file did not state its length
            raise ValueError(_too_long(f"more than {MAX_SECONDS} s", MAX_SECONDS))
        progress(0.9 * min(1.0, seconds / (total or MAX_SECONDS)), f"{seconds:.0f} s separated")

    result = separate_file(model, path, folder, progress=move)
    if result.silent:
        raise ValueError(f"{Path(path).name}: the recording is silent; choose another one.")
    progress(0.92, "drawing")
    files = {"input": Path(path), **{name: Path(output) for name, output in result.outputs.items()}}
    rate = min(result.sampling_rate, MAX_DRAWN_RATE)
    waveforms = {name: read_mono(file, rate) for name, file in files.items()}
    return Separation(files, {"input": _level(files["input"]), **result.levels}, waveforms, rate, result.seconds)


def mix_sources(files: list[str], gain: float, path: Path) -> None:
    """Writes the first of the files of sources with the others added, times `gain`, from 0 to 1."""
    if not 0 <= gain <= 1:
        raise ValueError(f"A background of {100 * gain:g} %: give 0 to 100.")
    with contextlib.ExitStack() as stack:
        first, *others = (stack.enter_context(AudioReader(file)) for file in files)
        writer = AudioWriter(path, first.sampling_rate, first.channels, input_subtype=first.subtype)
        stack.enter_context(writer)
        for blocks in zip(first, *others):
            writer.write(blocks[0] + gain * sum(blocks[1:]))


def check_sound(path: str | None, max_seconds: float) -> str:
    """Checks a sound and returns its path.

    Raises:
        ValueError: there is no sound, it exceeds a limit, or it cannot be read.
    """
    if path is None:
        # The browser shows a recording before the server has it.
        raise ValueError(
            "No sound yet: upload a file, record one, or click on an example. "
            "A new recording may still be on its way: press the button again in a moment."
        )
    size = Path(path).stat().st_size
    if size > MAX_MEGABYTES * 1e6:
        raise ValueError(f"{Path(path).name}: {size / 1e6:.0f} MB; give at most {MAX_MEGABYTES} MB")
    with AudioReader(path) as reader:
        if reader.channels > MAX_CHANNELS:
            raise ValueError(f"{Path(path).name}: {reader.channels} channels; give at most {MAX_CHANNELS}")
        if reader.seconds is not None and reader.seconds > max_seconds:
            raise ValueError(_too_long(f"{reader.seconds:.0f} s", max_seconds))
    return path


def _too_long(length: str, max_seconds: float) -> str:
    return (
        f"This sound has {length}; the limit here is {max_seconds:.0f} s. Cut it, or run `dse-hf separate` on your "
        "own machine, which takes any length."
    )


def zip_files(files: list[Path], path: Path) -> Path:
    """Writes a zip archive of the files, and returns its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def read_mono(path: str | Path, sampling_rate: int, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Reads the mean of the channels, (T,) float32, resampled to `sampling_rate` in Hz; at most `max_seconds`."""
    return read_audio(path, sampling_rate, max_seconds, mono=True)[:, 0]


def _level(path: Path) -> float:
    """RMS level of a file over all channels, in dBFS."""
    energy, count = 0.0, 0
    with AudioReader(path) as reader:
        for block in reader:
            energy += float(np.sum(np.square(block, dtype=np.float64)))
            count += block.size
    return 10 * math.log10(energy / count) if energy else -math.inf


# ── Noise mix ──


def mix_sound(clean: str | None, noise_type: str, noise: str | None, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Mixes speech with a noise. Returns both, (T,) at `MIX_RATE`, scaled down together if the mixture would clip.

    Raises:
        ValueError: a sound is missing, silent, too long or unreadable, or the noise type or the ratio is not valid.
    """
    if not math.isfinite(snr_db) or not -30 <= snr_db <= 60:
        raise ValueError(f"SNR of {snr_db} dB: give -30 to 60")
    speech = read_mono(check_sound(clean, MIX_SECONDS), MIX_RATE, MIX_SECONDS)
    background = _noise(noise_type, noise, len(speech))
    for title, signal in (("speech", speech), ("noise", background)):
        if rms(signal) == 0:
            raise ValueError(f"The {title} is silent: choose another file.")
    mixture = speech + gain_for_snr(speech, background, snr_db) * background
    scale = min(1.0, 0.99 / np.abs(mixture).max())
    return (scale * speech).astype(np.float32), (scale * mixture).astype(np.float32)


def _noise(noise_type: str, path: str | None, length: int) -> np.ndarray:
    """Noise (length,), the same at every call; a shorter file is repeated."""
    rng = np.random.default_rng(2)
    if noise_type == OWN_NOISE:
        if path is None:
            raise ValueError("No noise yet: upload one, or choose another kind.")
        check_sound(path, MAX_SECONDS)
        noise = read_mono(path, MIX_RATE)
    elif noise_type == "train":
        # The difference between the example's mixture and its speech.
        noise = read_mono(EXAMPLES / "train.flac", MIX_RATE) - read_mono(EXAMPLES / "clean.flac", MIX_RATE)
    elif noise_type == "coloured noise":
        noise = ColouredNoise(MIX_RATE)(length, rng)
    elif noise_type == "mains hum":
        noise = MainsHum(MIX_RATE)(length, rng)
    else:
        raise ValueError(f"noise {noise_type!r}: choose one of {', '.join(NOISE_TYPES)}")
    return np.resize(noise, length)


def score(
    clean: np.ndarray, mixture: np.ndarray, estimate: np.ndarray
) -> dict[str, tuple[float | None, float | None]]:
    """Scores mixture and estimate, (T,) at `MIX_RATE`. Returns heading of the metric → both, `None` if not defined."""
    from ..evaluation.metrics import METRICS, score_signal

    before, after = (
        score_signal(signal[None], clean[None], mixture[None], MIX_RATE, SHOWN_METRICS)[0]
        for signal in (mixture, estimate)
    )
    return {METRICS[name].heading(): (before[name], after[name]) for name in SHOWN_METRICS}


def release_memory() -> None:
    """Returns unused memory to the system. Otherwise glibc would keep much of it for each thread."""
    gc.collect()  # cycles keep the buffers of requests that broke off
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
