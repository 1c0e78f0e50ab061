"""The arguments of the data: which datasets, in which shape, mixed and augmented how."""

from dataclasses import dataclass, field
from typing import Literal

from .noises import SYNTHETIC_NOISES
from .specs import parse_specs


SPEC_HELP = "a Hub id or a local folder, each optionally followed by ,config=… ,split=… ,revision=… ,weight=…"


@dataclass
class DataArguments:
    """Which audio is used, and how.

    Three shapes: clean speech and noise that are mixed on the fly (`speech_dataset` and `noise_dataset`), pairs of a
    noisy and a clean recording, and stems (both: `dataset`).

    Raises:
        ValueError: a number out of its range.
    """

    speech_dataset: list[str] | str = field(
        default_factory=list, metadata={"help": f"Datasets of clean speech (the foreground): {SPEC_HELP}."}
    )
    noise_dataset: list[str] | str = field(
        default_factory=list, metadata={"help": f"Datasets of noise to mix it with: {SPEC_HELP}."}
    )
    dataset: list[str] | str = field(
        default_factory=list, metadata={"help": f"Datasets of pairs (noisy and clean) or of stems: {SPEC_HELP}."}
    )
    shape: Literal["auto", "pairs", "mixtures", "stems"] = field(
        default="auto",
        metadata={
            "help": "pairs: a noisy and a clean column; mixtures: speech and noise, mixed on the fly; stems: a column "
            "for every source; auto: found from the datasets given and their columns."
        },
    )
    train_split: str = field(default="train", metadata={"help": "Split that trains."})
    validation_split: str = field(default="validation", metadata={"help": "Split that validates."})
    validation_dataset: list[str] | str = field(
        default_factory=list, metadata={"help": "Pairs or stems that validate; default: those of dataset."}
    )
    validation_speech_dataset: list[str] | str = field(
        default_factory=list, metadata={"help": "Speech that validates; default: speech_dataset."}
    )
    validation_noise_dataset: list[str] | str = field(
        default_factory=list, metadata={"help": "Noise that validates; default: noise_dataset."}
    )
    validation_examples: int = field(default=128, metadata={"help": "Windows of the validation split."})

    audio_column: str | None = field(
        default=None,
        metadata={
            "help": "Column that holds the speech, and the noise; default: 'audio', or the only one with audio."
        },
    )
    cleaned_column: str | None = field(
        default=None,
        metadata={
            "help": "Mixtures: column of the speech with its own noise taken out, as by a denoiser. That is then the "
            "foreground, and what it lacks belongs to the background. Not with streaming."
        },
    )
    noisy_column: str | None = field(
        default=None, metadata={"help": "Column of a pair's noisy recording; default: the one named so."}
    )
    clean_column: str | None = field(
        default=None, metadata={"help": "Column of a pair's clean recording; default: the one named so."}
    )
    mixture_column: str | None = field(
        default=None,
        metadata={
            "help": "Stems: column of the whole mixture, needed where a source has no column; default: 'mixture'."
        },
    )
    source_columns: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Stems: columns of a source, as in 'vocals=singer accompaniment=drums+bass'; default: the column "
            "of the source's name, and for the last source everything else."
        },
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read the training datasets while training, instead of downloading them first."},
    )
    shuffle_buffer: int = field(default=256, metadata={"help": "Clips that a streamed dataset is shuffled among."})
    strict: bool = field(
        default=False,
        metadata={
            "help": "Stop at a clip that is corrupt, empty, silent or of an impossible rate, instead of skipping it."
        },
    )

    window_seconds: float = field(
        default=2.0, metadata={"help": "Shortest length of a window that counts for the loss, in seconds."}
    )
    snr_low: float = field(default=-5.0, metadata={"help": "Mixtures: lowest signal-to-noise ratio, in dB."})
    snr_high: float = field(default=20.0, metadata={"help": "Mixtures: highest signal-to-noise ratio, in dB."})
    level_low: float = field(default=-40.0, metadata={"help": "Mixtures: lowest RMS level, in dBFS."})
    level_high: float = field(default=-12.0, metadata={"help": "Mixtures: highest RMS level, in dBFS."})
    clean_share: float = field(default=0.04, metadata={"help": "Mixtures: share of examples without noise."})
    noise_only_share: float = field(default=0.04, metadata={"help": "Mixtures: share of examples without speech."})

    augment: bool = field(
        default=True, metadata={"help": "Augment the training examples; without it, all options below are off."}
    )
    speed_and_equalizer: bool = field(
        default=True, metadata={"help": "Mixtures: random speed and equaliser for speech and noise."}
    )
    speech_equalizer_db: float = field(
        default=6.0, metadata={"help": "Mixtures: most that a band of the speech is raised or lowered, in dB."}
    )
    speech_speed_low: float = field(default=0.92, metadata={"help": "Mixtures: slowest speed of the speech."})
    speech_speed_high: float = field(default=1.09, metadata={"help": "Mixtures: fastest speed of the speech."})
    noise_speed_low: float = field(default=0.7, metadata={"help": "Mixtures: slowest speed of the noise."})
    noise_speed_high: float = field(default=1.4, metadata={"help": "Mixtures: fastest speed of the noise."})
    voice_variation_share: float = field(
        default=0.0,
        metadata={"help": "Mixtures: share of the speech whose formants move, to make other voices."},
    )
    voice_variation_high: float = field(
        default=1.2, metadata={"help": "Mixtures: largest factor that formants are moved by, up or down; above 1."}
    )
    speaker_balance: float = field(
        default=0.0,
        metadata={
            "help": "Mixtures: 0 draws every clip of speech as often, 1 every speaker (a column of that name), 0.5 "
            "speakers by the square root of their clips. Not with streaming."
        },
    )
    excluded_speakers: list[str] | str = field(
        default_factory=list,
        metadata={
            "help": "Mixtures: speakers (of a column of that name) that do not train, such as noisy recordings, "
            "whose noise a model may learn to keep. Not with streaming."
        },
    )
    noise_variation_share: float = field(
        default=0.0,
        metadata={
            "help": "Mixtures: share of recorded noises of which others are made: backwards, in shuffled grains, with "
            "random phases, of moving level, in a room. For few recordings of noise."
        },
    )
    synthetic_noise_share: float = field(
        default=0.12, metadata={"help": "Mixtures: share of noises that are synthesised."}
    )
    synthetic_noises: list[str] = field(
        default_factory=lambda: ["coloured", "hum"],
        metadata={"help": f"Mixtures: which noises are synthesised, among {', '.join(SYNTHETIC_NOISES)}."},
    )
    babble_share: float = field(
        default=0.12, metadata={"help": "Mixtures: share of noises that are babble of 3 to 6 other voices."}
    )
    crowd_share: float = field(
        default=0.0, metadata={"help": "Mixtures: share of noises that are a reverberant crowd of other voices."}
    )
    second_noise_share: float = field(default=0.25, metadata={"help": "Mixtures: share of examples with two noises."})
    reverberation_share: float = field(
        default=0.0, metadata={"help": "Share of examples whose foreground is put into a room."}
    )
    reverberation_low: float = field(default=0.1, metadata={"help": "Shortest reverberation time (RT60), in seconds."})
    reverberation_high: float = field(default=0.8, metadata={"help": "Longest reverberation time (RT60), in seconds."})
    band_limit_share: float = field(
        default=0.0, metadata={"help": "Share of examples through a low-pass filter at 1.5 kHz or above."}
    )
    clipping_share: float = field(
        default=0.0, metadata={"help": "Share of examples whose foreground was recorded too loud."}
    )
    remix_share: float = field(
        default=0.0, metadata={"help": "Pairs and stems: share of examples whose sources come from different clips."}
    )
    gain_db: float = field(
        default=0.0, metadata={"help": "Pairs and stems: most that a source is turned up or down at random, in dB."}
    )

    def names(self) -> list[str]:
        """Hub ids and folders of the datasets that train."""
        given = (self.dataset, self.speech_dataset, self.noise_dataset)
        return list(dict.fromkeys(spec.name for specs in given for spec in parse_specs(specs)))

    def __post_init__(self):
        for low, high in (
            ("snr_low", "snr_high"),
            ("level_low", "level_high"),
            ("speech_speed_low", "speech_speed_high"),
            ("noise_speed_low", "noise_speed_high"),
            ("reverberation_low", "reverberation_high"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)}: must not exceed {high}={getattr(self, high)}")
        for name in vars(self):
            if name.endswith("_share") and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be from 0 to 1")
        for names in (("clean_share", "noise_only_share"), ("synthetic_noise_share", "babble_share", "crowd_share")):
            if sum(getattr(self, name) for name in names) > 1:
                given = " and ".join(f"{name}={getattr(self, name)}" for name in names)
                raise ValueError(f"{given}: exceed 1 together")
        for name in self.synthetic_noises:
            if name not in SYNTHETIC_NOISES:
                raise ValueError(f"synthetic_noises={name!r}: choose among {', '.join(SYNTHETIC_NOISES)}")
        if self.synthetic_noise_share > 0 and not self.synthetic_noises:
            raise ValueError(
                f"synthetic_noise_share={self.synthetic_noise_share} with no synthetic_noises: name one of "
                f"{', '.join(SYNTHETIC_NOISES)}"
            )
        positive = ("window_seconds", "validation_examples", "shuffle_buffer", "reverberation_low")
        for name in (*positive, "speech_speed_low", "noise_speed_low"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
        for name in ("gain_db", "speech_equalizer_db"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be 0 or above")
        if self.voice_variation_high <= 1:
            raise ValueError(f"voice_variation_high={self.voice_variation_high}: must be above 1")
        if not 0 <= self.speaker_balance <= 1:
            raise ValueError(f"speaker_balance={self.speaker_balance}: must be from 0 to 1")
        if self.streaming and self.speaker_balance > 0:
            raise ValueError(
                f"speaker_balance={self.speaker_balance} with streaming: clips come as they come; give one of them"
            )
        names = self.excluded_speakers  # in a recipe: maybe one alone, or numbers
        self.excluded_speakers = [names] if isinstance(names, str) else [str(name) for name in names]
        if self.streaming and self.excluded_speakers:
            raise ValueError(f"excluded_speakers={self.excluded_speakers} with streaming: give one of them")
        if self.streaming and self.cleaned_column is not None:
            raise ValueError(f"cleaned_column={self.cleaned_column!r} with streaming: give one of them")
        if self.shape not in ("auto", "pairs", "mixtures", "stems"):
            raise ValueError(f"shape={self.shape!r}: choose among auto, pairs, mixtures, stems")
