"""From the arguments to the datasets of a training run."""

from collections.abc import Sequence
from dataclasses import replace

from transformers.utils import logging

from .arguments import DataArguments
from .clips import ClipCollection, ClipPool
from .epochs import EpochDataset
from .mixtures import SpeechNoiseMixtures
from .parallel import ParallelCollection, ParallelWindows
from .specs import DatasetSpec, parse_specs
from .streaming import StreamedMixtures, StreamedWindows


logger = logging.get_logger(__name__)

VALIDATION_SEED = 1
# What a dataset holds → the option that names it.
DATASETS = {"dataset": "dataset", "speech": "speech_dataset", "noise": "noise_dataset"}


def build_training_set(arguments: DataArguments, config, *, examples: int | None = None, seed: int = 0):
    """Builds the training set. An example is `{"input_values": (C, T), "labels": (K, C, T)}`, float32.

    The labels sum to the input. Example i depends only on the seed, the epoch and i.

    Args:
        arguments (`DataArguments`): the datasets, their shape and the augmentation.
        config: the model's config, of which `sampling_rate`, `channels`, `sources` and `input_length_for` are used.
        examples (`int`, *optional*): number of examples in an epoch; by default, the number of clips.
        seed (`int`): seed of all random draws.

    Returns:
        `torch.utils.data.Dataset`, or with `arguments.streaming` a `torch.utils.data.IterableDataset`. Both have
        `set_epoch` and `report_bad_clips`.

    Raises:
        ValueError: the datasets do not go together, or one has no such split or column. The message names the
            existing ones.
    """
    specs, split = training_specs(arguments), arguments.train_split
    if not arguments.streaming:
        return _build(arguments, config, specs, split, examples, seed)
    common = (split, arguments, config, window_length(arguments, config), examples, seed)
    if resolve_shape(arguments) == "mixtures":
        check_mixture_sources(config.sources)
        return StreamedMixtures(specs["speech"], specs["noise"], *common)
    return StreamedWindows(specs["dataset"], *common)


def build_validation_set(arguments: DataArguments, config) -> EpochDataset:
    """Builds `arguments.validation_examples` windows of the validation split: always the same, not augmented.

    Mixtures always have speech and noise, because the improvement is not defined without one of them.

    Raises:
        ValueError: as in `build_training_set`.
    """
    fixed = replace(
        arguments, augment=False, clean_share=0.0, noise_only_share=0.0, excluded_speakers=[], cleaned_column=None,
        bandwidth_column=None,
    )  # fmt: skip
    specs = validation_specs(arguments)
    return _build(fixed, config, specs, arguments.validation_split, arguments.validation_examples, VALIDATION_SEED)


def _build(
    arguments: DataArguments, config, specs: dict[str, tuple], split: str, examples: int | None, seed: int
) -> EpochDataset:
    length, audio = window_length(arguments, config), (config.sampling_rate, config.channels)
    if resolve_shape(arguments) == "mixtures":
        check_mixture_sources(config.sources)
        only_speech = (arguments.excluded_speakers, arguments.cleaned_column, arguments.bandwidth_column)
        speech = ClipPool(open_clips(specs["speech"], arguments, split, *audio, *only_speech))
        noise = ClipPool(open_clips(specs["noise"], arguments, split, *audio))
        _check_speakers(list(arguments.excluded_speakers), speech.collections)
        logger.info(f"{split}: {len(speech)} clips of speech, {len(noise)} of noise")
        return SpeechNoiseMixtures(speech, noise, length, examples or len(speech), arguments, seed)
    sources = tuple(config.sources)
    collections = [ParallelCollection(spec, split, arguments, sources, *audio) for spec in specs["dataset"]]
    clips = sum(len(collection) for collection in collections)
    logger.info(f"{split}: {clips} clips")
    return ParallelWindows(collections, length, examples or clips, arguments, seed)


def open_clips(
    specs: Sequence[DatasetSpec], arguments: DataArguments, split: str, sampling_rate: int, channels: int, *options
) -> list[ClipCollection]:
    """Opens datasets of speech or of noise; `options` are the last arguments of `ClipCollection`."""
    common = (split, sampling_rate, arguments.audio_column, channels, arguments.strict)
    return [ClipCollection(spec, *common, *options) for spec in specs]


def _check_speakers(excluded: list[str], speech: list[ClipCollection]) -> None:
    speakers = set().union(*(collection.speakers for collection in speech))
    for name in excluded:
        if name not in speakers:
            datasets = ", ".join(str(collection.spec) for collection in speech)
            first = ", ".join(sorted(speakers)[:30]) + (" …" if len(speakers) > 30 else "")
            known = f"but {first}" if speakers else "for there is no column speaker"
            raise ValueError(f"excluded_speakers={name!r}: no such speaker in {datasets}, {known}")


def window_length(arguments: DataArguments, config) -> int:
    """Length of an example in samples: the input that the model needs for `window_seconds` of output."""
    return config.input_length_for(round(arguments.window_seconds * config.sampling_rate))


def training_specs(arguments: DataArguments) -> dict[str, tuple[DatasetSpec, ...]]:
    """The training datasets, by what they hold: `dataset` (pairs or stems), `speech` and `noise`."""
    return {kind: parse_specs(getattr(arguments, option)) for kind, option in DATASETS.items()}


def validation_specs(arguments: DataArguments) -> dict[str, tuple[DatasetSpec, ...]]:
    """The validation datasets: the given ones, or the training datasets, of which another split is used."""
    return {
        kind: parse_specs(getattr(arguments, f"validation_{DATASETS[kind]}"))
        # A split in the spec of a training dataset is the training split.
        or tuple(replace(spec, split=None) for spec in specs)
        for kind, specs in training_specs(arguments).items()
    }


def resolve_shape(arguments: DataArguments) -> str:
    """Returns `"mixtures"` or `"recordings"` (pairs or stems). Raises ValueError if the datasets fit to neither."""
    given = {DATASETS[kind] for kind, specs in training_specs(arguments).items() if specs}
    shape: str = arguments.shape
    if shape == "auto":
        if "dataset" in given and len(given) > 1:
            raise ValueError(
                "dataset and speech_dataset or noise_dataset: give either pairs or stems, or speech and noise"
            )
        shape = "recordings" if "dataset" in given else "mixtures"
    needed = {"speech_dataset", "noise_dataset"} if shape == "mixtures" else {"dataset"}
    if missing := sorted(needed - given):
        raise ValueError(
            f"{' and '.join(missing)}: missing; give dataset (pairs or stems), or speech_dataset and noise_dataset"
        )
    return "mixtures" if shape == "mixtures" else "recordings"


def check_mixture_sources(sources: Sequence[str]) -> None:
    """Raises ValueError if the model does not have two sources."""
    if len(sources) != 2:
        raise ValueError(f"speech and noise train two sources, not {', '.join(sources)}; give stems (dataset=…)")
