"""The arguments that describe the data, in groups: the datasets, how they are mixed and how they are augmented."""

from dataclasses import dataclass
from typing import Literal

from .noises import SYNTHETIC_NOISES
from .options import AboveOne, Count, NotNegative, OptionGroup, Positive, Share, accept_former_names, option


SPEC_HELP = "Each is a Hub id or a local folder; ,config=… ,split=… ,revision=… and ,weight=… may follow it."


@dataclass
class DatasetArguments(OptionGroup):
    """The recordings that train and validate the model, and their columns.

    There are three shapes of data: clean speech and noise that are mixed during training (`speech_dataset` and
    `noise_dataset`), pairs of a noisy and a clean recording, and stems (`dataset` for both).
    """

    speech_dataset: list[str] | str = option([], f"Datasets of clean speech, the foreground. {SPEC_HELP}")
    noise_dataset: list[str] | str = option([], "Datasets of noise for the speech, given like speech_dataset.")
    dataset: list[str] | str = option([], "Datasets of pairs or of stems, given like speech_dataset.")
    shape: Literal["auto", "pairs", "mixtures", "stems"] = option(
        "auto",
        "Shape of the data. pairs: a noisy and a clean column. mixtures: speech and noise, which are mixed during "
        "training. stems: a column for each source. auto: recognised from the datasets and their columns.",
    )
    train_split: str = option("train", "Split that is used for training.")
    validation_split: str = option("validation", "Split that is used for validation.")
    validation_dataset: list[str] | str = option([], "Pairs or stems for validation. Default: those of dataset.")
    validation_speech_dataset: list[str] | str = option([], "Speech for validation. Default: speech_dataset.")
    validation_noise_dataset: list[str] | str = option([], "Noise for validation. Default: noise_dataset.")
    validation_examples: Count = option(128, "Number of windows of the validation split, above 0.")
    audio_column: str | None = option(
        None, "Column with the audio of speech and of noise. Default: the column audio, or the only one with audio."
    )
    cleaned_column: str | None = option(
        None,
        "Mixtures: column with the same speech after denoising. The denoised speech is then the foreground, and the "
        "noise that was removed belongs to the background. Not with streaming.",
    )
    bandwidth_column: str | None = option(
        None,
        "Mixtures: column with the bandwidth of a clip of speech, in Hz. Speech and noise are then low-passed to the "
        "lowest bandwidth in the example, so that the model does not learn that speech has no high frequencies. A row "
        "without a value has the full bandwidth. Not with streaming.",
    )
    noisy_column: str | None = option(None, "Pairs: column of the noisy recording. Default: the column noisy.")
    clean_column: str | None = option(None, "Pairs: column of the clean recording. Default: the column clean.")
    mixture_column: str | None = option(
        None, "Stems: column of the whole mixture, needed if a source has no column. Default: the column mixture."
    )
    source_columns: list[str] = option(
        [],
        "Stems: the columns that add up to a source, as in 'vocals=singer accompaniment=drums+bass'. Default: the "
        "column with the name of the source; for the last source, all other columns.",
    )
    excluded_speakers: list[str] | str = option(
        [],
        "Mixtures: speakers (names in the column speaker) that are left out of training, for example because their "
        "recordings are noisy and the model would learn to keep that noise. Not with streaming.",
    )
    streaming: bool = option(False, "Read the training datasets during training, without downloading them first.")
    shuffle_buffer: Count = option(256, "Streaming: number of clips among which the order is shuffled, above 0.")
    strict: bool = option(
        False, "Stop at a clip that is corrupt, empty or silent or has an impossible rate, instead of skipping it."
    )


@dataclass
class MixingArguments(OptionGroup):
    """The length of the examples, and how loud speech and noise are in them."""

    window_seconds: Positive = option(
        2.0, "Length of an example in seconds, above 0. The context that the model needs on both sides is added."
    )
    snr_low: float = option(-5.0, "Mixtures: lowest ratio of speech to noise (SNR), in dB.")
    snr_high: float = option(20.0, "Mixtures: highest ratio of speech to noise (SNR), in dB.")
    level_low: float = option(-40.0, "Mixtures: lowest level (RMS), in dBFS.")
    level_high: float = option(-12.0, "Mixtures: highest level (RMS), in dBFS.")
    clean_share: Share = option(0.04, "Mixtures: share of examples without noise, from 0 to 1.")
    noise_only_share: Share = option(0.04, "Mixtures: share of examples without speech, from 0 to 1.")
    augment: bool = option(True, "Augment examples. If false, speed_and_equalizer and the next four sections are off.")
    speed_and_equalizer: bool = option(True, "Mixtures: change speed and spectrum of speech and noise at random.")


@dataclass
class SpeechAugmentationArguments(OptionGroup):
    """More voices from the same speech, for mixtures: speed, spectrum, formants, and which speakers are drawn."""

    speech_equalizer_db: NotNegative = option(6.0, "Largest gain or loss of a frequency band of the speech, in dB.")
    speech_speed_low: Positive = option(0.92, "Lowest speed of the speech, above 0; 1 is the original speed.")
    speech_speed_high: float = option(1.09, "Highest speed of the speech.")
    voice_variation_share: Share = option(0.0, "Share of the speech, from 0 to 1, whose formants are moved.")
    voice_variation_high: AboveOne = option(1.2, "Largest factor for the frequency of the formants, above 1.")
    whisper_share: Share = option(0.0, "Share of the speech, from 0 to 1, that is turned into whispering.")
    singing_share: Share = option(
        0.0, "Share of the speech, from 0 to 1, that is turned into singing: slower, with held notes and vibrato."
    )
    voice_pitch_share: Share = option(
        0.0, "Share of the speech, from 0 to 1, that becomes a high or a low voice by another speed than that above."
    )
    voice_pitch_low: Positive = option(0.75, "Lowest speed of the speech of voice_pitch_share, above 0.")
    voice_pitch_high: float = option(1.9, "Highest speed of the speech of voice_pitch_share.")
    codec_share: Share = option(
        0.0, "Share of the speech, from 0 to 1, that is coded by MP3, Opus, AMR or G.722; it is the target as coded."
    )
    speaker_balancing: Share = option(
        0.0,
        "How evenly speakers (names in the column speaker) are drawn, from 0 to 1. 0: each clip is equally likely. 1: "
        "each speaker is equally likely. 0.5: a speaker with four times the clips is twice as likely. Not with "
        "streaming.",
    )


@dataclass
class NoiseAugmentationArguments(OptionGroup):
    """More noises than were recorded, for mixtures: variations, synthetic noises, and voices as noise."""

    noise_speed_low: Positive = option(0.7, "Lowest speed of the noise, above 0; 1 is the original speed.")
    noise_speed_high: float = option(1.4, "Highest speed of the noise.")
    noise_variation_share: Share = option(
        0.0,
        "Share of the recorded noises, from 0 to 1, that are turned into other noises: backwards, in shuffled grains, "
        "with random phases, with a changing level, in a room. It helps if there are few recordings of noise.",
    )
    synthetic_noise_share: Share = option(0.12, "Share of the noises, from 0 to 1, that are synthesised.")
    synthetic_noises: list[str] = option(
        ["coloured", "hum"], f"Kinds of noise that are synthesised. Choose among {', '.join(SYNTHETIC_NOISES)}."
    )
    babble_share: Share = option(0.12, "Share of the noises, from 0 to 1, that are babble of other voices.")
    babble_voices_low: Count = option(3, "Lowest number of voices in babble, above 0.")
    babble_voices_high: Count = option(6, "Highest number of voices in babble.")
    crowd_share: Share = option(0.0, "Share of the noises, from 0 to 1, that are a crowd in a reverberant room.")
    second_noise_share: Share = option(0.25, "Share of the examples, from 0 to 1, with two noises at once.")


@dataclass
class RecordingArguments(OptionGroup):
    """Rooms and faults of recordings, for all shapes of data. The share of an effect is from 0 (off) to 1."""

    reverberation_share: Share = option(0.0, "Share of the examples whose foreground is put into a room.")
    reverberation_low: Positive = option(0.1, "Shortest reverberation time (RT60) of a room, in seconds, above 0.")
    reverberation_high: float = option(0.8, "Longest reverberation time (RT60) of a room, in seconds.")
    reverberation_kept_ms: float | None = option(
        None,
        "Reverberation until so many ms after the direct sound belongs to the foreground, with a fade of 50 ms, for "
        "example 50. Later reverberation belongs to the background and does not count for the SNR. Default: all "
        "of it belongs to the foreground.",
    )
    early_reflections: int = option(0, "Number of discrete reflections in the first 50 ms of a room, 0 or above.")
    band_limit_share: Share = option(0.0, "Share of the examples with a low-pass filter at 1.5 kHz or above.")
    telephone_share: Share = option(
        0.0, "Share of the examples in the band of a telephone, half of them with faint noise over the whole band."
    )
    clipping_share: Share = option(0.0, "Share of the examples whose foreground is clipped, as if recorded too loud.")


@dataclass
class StemArguments(OptionGroup):
    """New combinations of the recorded sources, for pairs and stems."""

    remix_share: Share = option(0.0, "Share of the examples, from 0 to 1, with sources of different recordings.")
    gain_db: NotNegative = option(0.0, "Largest change of each source's level, up or down, in dB, 0 or above.")


# The sections of a recipe and of the help.
DATA_SECTIONS = {
    "datasets": DatasetArguments,
    "mixing": MixingArguments,
    "speech_augmentation": SpeechAugmentationArguments,
    "noise_augmentation": NoiseAugmentationArguments,
    "recording_conditions": RecordingArguments,
    "pairs_and_stems": StemArguments,
}


@accept_former_names
@dataclass
class DataArguments(
    # A dataclass takes the fields of its last base first.
    StemArguments,
    RecordingArguments,
    NoiseAugmentationArguments,
    SpeechAugmentationArguments,
    MixingArguments,
    DatasetArguments,
):
    """All arguments of the data: the fields of all groups above.

    Raises:
        ValueError: a value is out of its range, or two options exclude each other.
    """

    def __post_init__(self):
        super().__post_init__()
        self.check_sum("clean_share", "noise_only_share")
        self.check_sum("whisper_share", "singing_share")
        self.check_sum("synthetic_noise_share", "babble_share", "crowd_share")
        if self.reverberation_kept_ms is not None and self.reverberation_kept_ms < 0:
            raise ValueError(f"reverberation_kept_ms={self.reverberation_kept_ms}: must be 0 or above")
        if self.early_reflections < 0:
            raise ValueError(f"early_reflections={self.early_reflections}: must be 0 or above")
        kinds = ", ".join(SYNTHETIC_NOISES)
        for name in self.synthetic_noises:
            if name not in SYNTHETIC_NOISES:
                raise ValueError(f"synthetic_noises={name!r}: choose among {kinds}")
        if self.synthetic_noise_share > 0 and not self.synthetic_noises:
            share = self.synthetic_noise_share
            raise ValueError(f"synthetic_noise_share={share} with no synthetic_noises: name at least one of {kinds}")
        # A recipe may give one speaker without a list, or numbers.
        names = [self.excluded_speakers] if isinstance(self.excluded_speakers, str) else self.excluded_speakers
        self.excluded_speakers = [str(name) for name in names]
        for name in ("excluded_speakers", "cleaned_column", "bandwidth_column"):
            if self.streaming and getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r} does not work with streaming: give only one of them")
        if self.streaming and self.speaker_balancing > 0:
            raise ValueError(
                f"speaker_balancing={self.speaker_balancing} does not work with streaming, which reads clips in the "
                "order of the dataset: give only one of them"
            )
