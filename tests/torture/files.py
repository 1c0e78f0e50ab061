"""Damaged audio files, and files with false headers, for `separate_file`, the pipeline and the Space."""

import functools
import gc
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from dse_hf import separate_file
from dse_hf.audio import AudioReader
from dse_hf.audio.formats import integer_bits
from tests.audio.sounds import write_av

from .arrays import model as array_model
from .arrays import pipeline
from .trials import RIGHT, Case, Trial, check, refusal


RATE = 8000
SECONDS = 0.25
_SOUNDFILE_KINDS = {
    **{f"{subtype.lower()}.wav": ("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT")},
    **{f"{subtype.lower()}.wav": ("WAV", subtype) for subtype in ("DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")},
    **{"gsm.wav": ("WAV", "GSM610"), "wavex.wav": ("WAVEX", "PCM_16"), "rf64.wav": ("RF64", "PCM_16")},
    **{"a.w64": ("W64", "PCM_24"), "float.w64": ("W64", "FLOAT"), "a.flac": ("FLAC", "PCM_16")},
    **{"24.flac": ("FLAC", "PCM_24"), "a.ogg": ("OGG", "VORBIS"), "a.opus": ("OGG", "OPUS")},
    **{"a.mp3": ("MP3", "MPEG_LAYER_III"), "a.aiff": ("AIFF", "PCM_16"), "float.aiff": ("AIFF", "FLOAT")},
    **{"a.au": ("AU", "PCM_16"), "a.caf": ("CAF", "PCM_24"), "alac.caf": ("CAF", "ALAC_16")},
    **{"a.nist": ("NIST", "PCM_16"), "a.voc": ("VOC", "PCM_16"), "a.mat": ("MAT5", "DOUBLE")},
}
_FFMPEG_KINDS = {
    **{f"aac.{extension}": ("aac", "fltp") for extension in ("m4a", "mp4", "mov", "mkv", "aac", "flv", "ts")},
    **{"opus.webm": ("libopus", "fltp"), "opus.mkv": ("libopus", "fltp")},
    **{"alac.m4a": ("alac", "s16p"), "a.ac3": ("ac3", "fltp"), "a.eac3": ("eac3", "fltp"), "a.asf": ("ac3", "fltp")},
    **{"film.mp4": ("aac", "fltp"), "film.mkv": ("aac", "fltp"), "film.avi": ("ac3", "fltp")},
}
KINDS = (*_SOUNDFILE_KINDS, *_FFMPEG_KINDS)
_LOSSY = ("ULAW", "ALAW", "ADPCM", "GSM", "VORBIS", "OPUS", "MPEG")
_EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1000, 10**7, 2**31 - 1, 2**31, 2**32 - 1)


model = functools.partial(array_model, "valid", torch.float32)


@functools.cache
def whole_file(kind: str) -> tuple[bytes, np.ndarray]:
    """An undamaged file of this kind, and its samples (T, C) before encoding."""
    seed = KINDS.index(kind)
    rate = 48000 if kind in _FFMPEG_KINDS or "opus" in kind or "mp3" in kind else (8000, 16000, 44100)[seed % 3]
    frames, channels = int(SECONDS * rate), 1 if "gsm" in kind else 1 + seed % 2
    samples = np.random.default_rng(seed).normal(0, 0.1, (frames, channels)).clip(-0.9, 0.9).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, kind)
        if kind in _SOUNDFILE_KINDS:
            container, subtype = _SOUNDFILE_KINDS[kind]
            soundfile.write(path, samples, rate, format=container, subtype=subtype)
        else:
            codec, sample_format = _FFMPEG_KINDS[kind]
            write_av(path, samples, rate, codec, sample_format, video=kind.startswith("film"))
        return path.read_bytes(), samples


# ── Damage ──


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(2 ** rng.uniform(0, 6))):
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return content


def overwrite(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(content)))
    length = min(int(2 ** rng.uniform(0, 12)), len(content) - start)
    content[start : start + length] = rng.bytes(length) if rng.random() < 0.7 else bytes([rng.integers(256)]) * length
    return content


def cut_off(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: int(rng.integers(len(content)))]


def cut_out(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(content)))
    del content[start : start + int(2 ** rng.uniform(0, 12))]
    return content


def insert(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(len(content)))
    content[start:start] = rng.bytes(int(2 ** rng.uniform(0, 12)))
    return content


def repeat(content: bytearray, rng: np.random.Generator) -> bytearray:
    start, end = np.sort(rng.integers(0, len(content) + 1, 2))
    content[end:end] = content[start:end]
    return content


def splice(content: bytearray, rng: np.random.Generator) -> bytearray:
    other = whole_file(KINDS[rng.integers(len(KINDS))])[0]
    return content[: int(rng.integers(len(content) + 1))] + other[int(rng.integers(len(other))) :]


def edit_header(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrites fields near the start with extreme numbers."""
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(0, min(256, len(content))))
        size = int(rng.choice([1, 2, 4, 8]))
        number = _EXTREMES[rng.integers(len(_EXTREMES))] % 256**size
        content[start : start + size] = number.to_bytes(size, str(rng.choice(["little", "big"])))
    return content


def change_number(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Overwrites a field anywhere, such as the length of a box, page or element, with an extreme number."""
    start = int(rng.integers(len(content)))
    content[start : start + 4] = int(_EXTREMES[rng.integers(len(_EXTREMES))]).to_bytes(4, "big")
    return content


DAMAGE = (flip_bits, overwrite, cut_off, cut_out, insert, repeat, splice, edit_header, change_number)


def damaged_file(case: Case) -> Path:
    """A file of the next kind, with up to three kinds of damage."""
    kind = case.pick(KINDS)
    content = bytearray(whole_file(kind)[0])
    for _ in range(int(case.rng.integers(1, 4))):
        if content:
            content = DAMAGE[case.rng.integers(len(DAMAGE))](content, case.rng)
    name = kind if case.rng.random() < 0.9 else KINDS[case.rng.integers(len(KINDS))]
    path = case.folder / name
    path.write_bytes(content)
    return path


def lying_wav(rng: np.random.Generator) -> bytes:
    """A wav whose header fields may all be false."""

    def field(true: int, *lies: int) -> int:
        return true if rng.random() < 0.6 else int(lies[rng.integers(len(lies))])

    samples = (rng.normal(0, 0.1, 2000).clip(-1, 1) * 32767).astype("<i2").tobytes()
    channels = field(1, 0, 2, 64, 65, 1000, 65535)
    bits = field(16, 0, 1, 7, 8, 12, 24, 32, 33, 64, 255, 65535)
    rate = field(8000, 0, 1, 999, 1000, 768_000, 768_001, 10_000_000, 2**31 - 1, 2**31, 2**32 - 1)
    tag = field(1, 0, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0xFF, 0x161, 0x2000, 0xFFFE, 0xFFFF)
    block = field(channels * bits // 8 % 2**16, 0, 1, 2, 3, 4, 8, 2048, 65535)
    per_second = field(rate * block % 2**32, 0, 1, 2**31, 2**32 - 1)
    fmt_size = field(16, 0, 2, 14, 18, 40, 2**31 - 1, 2**31, 2**32 - 1)
    size = len(samples)
    data_size = field(size, 0, 1, size - 1, size + 1, 2 * size, 2**31 - 1, 2**31, 2**32 - 36, 2**32 - 1)
    riff_size = field(36 + size, 0, 4, 35 + size, 2**31 - 1, 2**31, 2**32 - 1)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", riff_size, b"WAVE", b"fmt ", fmt_size)
        + struct.pack("<HHIIHH", tag, channels, rate, per_second, block, bits)
        + struct.pack("<4sI", b"data", data_size)
        + samples
    )


def random_content(rng: np.random.Generator) -> bytes:
    """Content that is no audio: nothing, text, noise, or the first bytes of a format and noise."""
    magic = (
        *(b"RIFF\x24\x00\x00\x00WAVEfmt ", b"fLaC\x00\x00\x00\x22", b"OggS\x00\x02", b"ID3\x04\x00\x00", b"\xff\xfb"),
        *(b"\x1a\x45\xdf\xa3", b"\x00\x00\x00\x18ftypM4A ", b"FORM\x00\x00\x00\x00AIFF", b".snd", b"caff\x00\x01"),
        *(b"riff\x2e\x91\xcf\x11", b"RF64\xff\xff\xff\xffWAVE", b"MThd", b"#EXTM3U\n", b"ffconcat version 1.0\n", b""),
    )
    noise = rng.bytes(int(2 ** rng.uniform(0, 15)))
    if rng.random() < 0.2:
        noise = b"dear diary, " * int(rng.integers(0, 100))
    return magic[rng.integers(len(magic))] + noise


# ── Cases ──


def run_whole_file(case: Case) -> str:
    """Undamaged files of every kind must be separated. It shows that the others are refused for their damage alone."""
    kind = case.pick(KINDS)
    content, samples = whole_file(kind)
    path = case.folder / kind
    path.write_bytes(content)
    check(_separate_and_check(path, case) == RIGHT, f"{kind}: a good file was refused")
    with AudioReader(path) as reader:
        frames = sum(map(len, reader))
    if kind in _SOUNDFILE_KINDS and not any(word in _SOUNDFILE_KINDS[kind][1] for word in ("GSM", "ADPCM")):
        check(frames == len(samples), f"{kind}: {frames} samples of {len(samples)}")
    check(abs(frames - len(samples)) <= 4096, f"{kind}: {frames} samples of {len(samples)}")
    return RIGHT


def run_no_audio(case: Case) -> str:
    path = case.folder / KINDS[case.rng.integers(len(KINDS))]
    path.write_bytes(random_content(case.rng))
    return _separate_and_check(path, case)


def run_pipeline(case: Case) -> str:
    """The same files as bytes for the pipeline."""
    content = _damaged_or_lying_file(case).read_bytes()
    try:
        front, back = pipeline("valid")(content)
    except ValueError as error:
        return refusal(error)
    check(front["audio"].shape == back["audio"].shape, "sources of two shapes")
    check(all(np.isfinite(source["audio"]).all() for source in (front, back)), "a source holds NaN or infinity")
    return RIGHT


def run_space(case: Case) -> str:
    """The same files as uploads of a visitor. The messages must not name folders of the server."""
    import gradio

    from dse_hf.app.handlers import with_clear_errors

    path = _damaged_or_lying_file(case)
    served = case.folder / "served"
    served.mkdir()
    handlers = _handlers()
    handlers.keep = functools.partial(_keep, served)
    try:
        files, report = with_clear_errors(handlers.separate)(str(path), "tiny")
    except gradio.Error as error:
        check(not any(served.iterdir()), "files are served for a sound that was refused")
        check(str(case.folder) not in error.message, f"the message tells a folder: {error.message}")
        check(len(error.message.splitlines()) == 1, f"a message of several lines: {error.message!r}")
        return refusal(error.__context__)
    check(report["sources"] == ["foreground", "background"], f"sources {report['sources']}")
    # Minus infinity means a silent source.
    check(all(change < np.inf for change in report["changes_db"].values()), f"changes of {report['changes_db']} dB")
    _check_outputs(path, dict(zip(report["sources"], files)))
    return RIGHT


def _damaged_or_lying_file(case: Case) -> Path:
    return _lying_file(case) if case.number % 3 == 2 else damaged_file(case)


def _lying_file(case: Case) -> Path:
    path = case.folder / "a.wav"
    path.write_bytes(lying_wav(case.rng))
    return path


@functools.cache
def _handlers():
    from dse_hf.app.handlers import Handlers

    gc.collect()
    gc.freeze()  # as in the Space, so that only the objects of a request are collected after it
    return Handlers({"tiny": model()}, keep=str)


def _keep(folder: Path, path: str) -> str:
    return shutil.copy(path, folder)


# ── Checks ──


def _separate_and_check(path: Path, case: Case) -> str:
    output = case.folder / "out"
    file_format = str(case.rng.choice(["wav", "wav", "w64", "flac", "aiff"]))
    source = path if case.rng.random() < 0.8 else path.read_bytes()
    try:
        result = separate_file(model(), source, output, file_format=file_format)
    except Exception as error:
        left = [file.name for file in output.iterdir()] if output.exists() else []
        check(not left, f"refused, but left {left}")
        return refusal(error)
    check(len(list(output.iterdir())) == 2, f"left {sorted(output.iterdir())}")
    frames = _check_outputs(source, result.outputs)
    check(frames == result.frames, f"reports {result.frames} samples and not {frames}")
    return RIGHT


def _check_outputs(source, outputs: dict[str, str]) -> int:
    """Checks that the sources have the shape of the input and sum to it. Returns its length."""
    with AudioReader(source) as reader:
        mixture = np.concatenate(list(reader.blocks("float64")))
    sources, rates, subtypes = [], [], []
    for file in outputs.values():
        info = soundfile.info(file)
        samples, rate = soundfile.read(file, dtype="float64", always_2d=True)
        check(samples.shape == mixture.shape, f"{info.subtype} source of shape {samples.shape}, not {mixture.shape}")
        check(bool(np.isfinite(samples).all()), "a source holds NaN or infinity")
        sources.append(samples)
        rates.append(rate)
        subtypes.append(info.subtype)
    check(rates == [reader.sampling_rate] * len(rates), f"rates {rates} for {reader.sampling_rate} Hz")
    bits = integer_bits(subtypes[0])
    loudest = np.max(np.abs([mixture, *sources]), axis=0)
    if bits:  # where nothing clips
        step = 2.0 ** (1 - bits)
        wrong = (np.abs(sum(sources) - mixture) > step) & (loudest < 1 - 2 * step)
    else:
        wrong = np.abs(sum(sources) - mixture) > 1e-6 * np.maximum(1.0, loudest)
    check(not wrong.any(), f"the sum of the {subtypes[0]} sources differs from the input in {wrong.sum()} samples")
    return len(mixture)


TRIALS = [
    Trial("whole-files", run_whole_file, quick=len(KINDS), most=len(KINDS), megabytes=256),
    Trial(
        "damaged-files", lambda case: _separate_and_check(damaged_file(case), case), quick=44, megabytes=256, share=4
    ),
    Trial("lying-headers", lambda case: _separate_and_check(_lying_file(case), case), quick=30, megabytes=256),
    Trial("no-audio", run_no_audio, quick=15, megabytes=256, share=0.5),
    Trial("damaged-items", run_pipeline, quick=15, megabytes=256),
    Trial("damaged-uploads", run_space, quick=12, megabytes=256, share=2),
]
