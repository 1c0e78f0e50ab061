"""Hub audio datasets → training examples: clean speech and noise, mixed on the fly."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from transformers.utils import logging

from .audio import AudioReader
from .augmentation import (
    ColouredNoise,
    MainsHum,
    RandomEqualizer,
    RandomSpeed,
    Waveform,
    gain_for_snr,
    rms,
)


logger = logging.get_logger(__name__)

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}


@dataclass
class DataArguments:
    """Which audio is mixed, and how."""

    speech_dataset: str = field(
        metadata={"help": "Dataset of clean speech: a Hub id, or a local folder of audio files."}
    )
    noise_dataset: str = field(metadata={"help": "Dataset of noise: a Hub id, or a local folder of audio files."})
    train_split: str = field(default="train", metadata={"help": "Split that trains."})
    validation_split: str = field(default="validation", metadata={"help": "Split that validates."})
    audio_column: str = field(default="audio", metadata={"help": "Column of both datasets that holds the audio."})
    window_seconds: float = field(
        default=2.0, metadata={"help": "Shortest length of a training window that counts for the loss, in seconds."}
    )
    snr_low: float = field(default=-5.0, metadata={"help": "Lowest signal-to-noise ratio of a mixture, in dB."})
    snr_high: float = field(default=20.0, metadata={"help": "Highest signal-to-noise ratio of a mixture, in dB."})
    level_low: float = field(default=-40.0, metadata={"help": "Lowest RMS level of a mixture, in dBFS."})
    level_high: float = field(default=-12.0, metadata={"help": "Highest RMS level of a mixture, in dBFS."})
    clean_share: float = field(default=0.04, metadata={"help": "Share of examples without noise."})
    noise_only_share: float = field(default=0.04, metadata={"help": "Share of examples without speech."})
    augment: bool = field(
        default=True, metadata={"help": "Random speed and equaliser, synthetic noises, babble of other speakers."}
    )
    validation_examples: int = field(default=128, metadata={"help": "Mixtures of the validation split."})


class ClipCollection:
    """Clips of a dataset's split, decoded when they are asked for.

    Args:
        name (`str`): Hub id, or a local folder of audio files (with or without a `metadata.csv`).
        split (`str`): the split.
        sampling_rate (`int`): every clip is resampled to it, and mixed down to mono.

    Raises:
        ValueError: no such column, or an empty split; names the columns there are.
    """

    def __init__(self, name: str, split: str, sampling_rate: int, audio_column: str = "audio"):
        from datasets import Audio

        dataset = load_split(name, split)
        if audio_column not in dataset.column_names:
            raise ValueError(
                f"audio_column={audio_column!r}: {name} has the columns {', '.join(dataset.column_names)}"
            )
        if len(dataset) == 0:
            raise ValueError(f"split {split!r} of {name} is empty: name another one")
        # Encoded bytes: they need neither torchcodec nor FFmpeg, and decode in the loader's workers.
        self.dataset = dataset.cast_column(audio_column, Audio(decode=False))
        self.audio_column, self.sampling_rate = audio_column, sampling_rate
        # Clips that may follow each other: of one speaker, or of one kind of noise.
        column = next((name for name in ("speaker", "kind") if name in dataset.column_names), None)
        self.group_of = list(dataset[column]) if column else list(range(len(dataset)))
        self.groups: dict = {}
        for index, group in enumerate(self.group_of):
            self.groups.setdefault(group, []).append(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Waveform:
        return decode_clip(self.dataset[int(index)][self.audio_column], self.sampling_rate)


def load_split(name: str, split: str):
    """A split of a Hub dataset, or of a local folder, as a `datasets.Dataset`."""
    from datasets import Dataset, load_dataset

    folder = Path(name) / split
    files = sorted(path for path in folder.glob("**/*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        return load_dataset(name, split=split)
    # The audiofolder layout, read here: the loader of `datasets` would want torchcodec even for undecoded files.
    rows = [{"audio": {"bytes": None, "path": str(path)}} for path in files]
    metadata = folder / "metadata.csv"
    if metadata.exists():
        with open(metadata, encoding="utf-8", newline="") as file:
            described = {str(folder / row.pop("file_name")): row for row in csv.DictReader(file)}
        rows = [{**row, **described.get(row["audio"]["path"], {})} for row in rows]
    return Dataset.from_list(rows)


def decode_clip(audio: dict, sampling_rate: int) -> Waveform:
    """An undecoded `datasets` audio item (`bytes` or `path`) → mono samples (T,) at `sampling_rate`.

    Raises:
        AudioError: it holds no audio that can be read.
    """
    content = audio.get("bytes")
    try:  # much faster than AudioReader, which is made for long files
        source = io.BytesIO(content) if content is not None else audio["path"]
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        with AudioReader(content if content is not None else audio["path"]) as reader:
            samples, rate = np.concatenate(list(reader)), reader.sampling_rate
    mono = samples.mean(axis=1)
    return mono if rate == sampling_rate else soxr.resample(mono, rate, sampling_rate)


class SpeechNoiseMixtures(torch.utils.data.Dataset):
    """Mixtures of one speaker with noise: example i depends on the seed and on i only, whatever the workers.

    An example has `input_values` (1, T), the mixture, and `labels` (2, 1, T), speech and noise, which sum to it.

    Args:
        speech, noise (`ClipCollection`): at the same sampling rate.
        length (`int`): samples T of an example.
        size (`int`): number of examples.
        arguments (`DataArguments`): ranges of SNR and level, shares, augmentation.
        seed (`int`): of all that is drawn.
    """

    def __init__(
        self,
        speech: ClipCollection,
        noise: ClipCollection,
        length: int,
        size: int,
        arguments: DataArguments,
        seed: int = 0,
    ):
        rate = speech.sampling_rate
        self.speech, self.noise, self.length, self.size = speech, noise, length, size
        self.arguments, self.seed = arguments, seed
        self.speech_speed, self.noise_speed = RandomSpeed(0.92, 1.09), RandomSpeed(0.7, 1.4)
        self.speech_equalizer = RandomEqualizer(rate, bands=2, max_gain_db=6)
        self.noise_equalizer = RandomEqualizer(rate, bands=3, max_gain_db=12)
        self.synthetic_noises = (ColouredNoise(rate), MainsHum(rate))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Waveform]:
        if not 0 <= index < self.size:
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, index))
        arguments = self.arguments
        speech = self._fill(self.speech, rng, self.speech_speed, self.speech_equalizer, max_gap=0.5)
        noise = self._noise(rng)
        share = rng.uniform()
        snr_db = rng.uniform(arguments.snr_low, arguments.snr_high)
        noise = noise * gain_for_snr(speech, noise, snr_db)
        if share < arguments.clean_share:
            noise = np.zeros_like(noise)
        elif share < arguments.clean_share + arguments.noise_only_share:
            speech = np.zeros_like(speech)
        sources = np.stack([speech, noise])[:, None].astype(np.float32)
        mixture = sources.sum(axis=0)
        level = 10 ** (rng.uniform(arguments.level_low, arguments.level_high) / 20) / max(rms(mixture), 1e-8)
        # A mixture that would clip is turned down together with its sources.
        level = min(level, 0.99 / max(np.abs(mixture).max(), np.abs(sources).max(), 1e-8))
        return {"input_values": mixture * np.float32(level), "labels": sources * np.float32(level)}

    def _noise(self, rng: np.random.Generator) -> Waveform:
        """One or two noises: recorded, babble of other speakers, or synthetic."""
        noise = self._one_noise(rng)
        if self.arguments.augment and rng.uniform() < 0.25:
            second = self._one_noise(rng)
            noise = noise + second * gain_for_snr(noise, second, rng.uniform(-5, 10))
        return noise

    def _one_noise(self, rng: np.random.Generator) -> Waveform:
        draw = rng.uniform() if self.arguments.augment else 1.0
        if draw < 0.12:
            synthetic = self.synthetic_noises[0 if rng.uniform() < 0.75 else 1]
            return self.noise_equalizer(synthetic(self.length, rng), rng)
        if draw < 0.24:
            voices = [self._fill(self.speech, rng, self.noise_speed, None) for _ in range(rng.integers(3, 7))]
            return np.sum([voice / max(rms(voice), 1e-4) for voice in voices], axis=0)
        return self._fill(self.noise, rng, self.noise_speed, self.noise_equalizer)

    def _fill(self, clips: ClipCollection, rng, speed, equalizer, max_gap: float = 0.0) -> Waveform:
        """A stretch of a random clip; where it is too short, more clips of the same group follow."""
        filled, position = np.zeros(self.length, np.float32), 0
        if clips is self.noise:  # kinds of noise are equally likely, however many clips they have
            group = list(clips.groups.values())[int(rng.integers(len(clips.groups)))]
            index = group[int(rng.integers(len(group)))]
        else:
            index = int(rng.integers(len(clips)))
            group = clips.groups[clips.group_of[index]]
        while position < self.length:
            clip = clips[index]
            if self.arguments.augment and speed is not None:
                clip = speed(clip, rng)
            space = self.length - position
            start = int(rng.integers(len(clip) - space + 1)) if len(clip) > space else 0
            clip = clip[start : start + space]
            filled[position : position + len(clip)] = clip
            position += max(len(clip), 1) + int(rng.uniform(0, max_gap) * clips.sampling_rate)
            index = group[int(rng.integers(len(group)))]
        if self.arguments.augment and equalizer is not None:
            filled = equalizer(filled, rng)
        return filled
