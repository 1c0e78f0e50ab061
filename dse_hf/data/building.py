"""Arguments → the datasets of a training run."""

from collections.abc import Sequence
from dataclasses import replace

from transformers.utils import logging

from .arguments import DataArguments
from .clips import ClipCollection, ClipPool
from .epochs import EpochDataset
from .mixtures import SpeechNoiseMixtures
from .parallel import ParallelCollection, ParallelWindows
from .row_streams import Share
from .specs import DatasetSpec, parse_specs
from .streaming import StreamedMixtures, StreamedWindows


logger = logging.get_logger(__name__)

VALIDATION_SEED = 1


def build_training_set(arguments: DataArguments, config, *, examples: int | None = None, seed: int = 0):
    """The training examples: `{"input_values": (C, T), "labels": (K, C, T)}`, float32, labels that sum to the input.

    Args:
        arguments (`DataArguments`): datasets, shape, augmentation.
        config: the model's; `sampling_rate`, `channels`, `sources` and `input_length_for` are used.
        examples (`int`, *optional*): length of an epoch; by default the number of clips.
        seed (`int`): of all that is drawn. Example i depends on it, on the epoch and on i only.

    Returns:
        `torch.utils.data.Dataset`, or with `arguments.streaming` a `torch.utils.data.IterableDataset`, both with
        `set_epoch` and `report_bad_clips`.

    Raises:
        ValueError: the datasets do not go together, or have no such split or column; says which there are.
    """
    specs, split = training_specs(arguments), arguments.train_split
    if arguments.streaming:
        return _build_streamed(arguments, config, specs, split, examples, seed)
    return _build(arguments, config, specs, split, examples, seed)


def build_validation_set(arguments: DataArguments, config) -> EpochDataset:
    """`arguments.validation_examples` windows of the validation split, always the same, without augmentation.

    Mixtures always have speech and noise, because an improvement is not defined without.

    Raises:
        ValueError: as `build_training_set`.
    """
    fixed = replace(
        arguments, augment=False, clean_share=0.0, noise_only_share=0.0, excluded_speakers=[], cleaned_column=None
    )
    specs = validation_specs(arguments)
    return _build(fixed, config, specs, arguments.validation_split, arguments.validation_examples, VALIDATION_SEED)


def _build(
    arguments: DataArguments,
    config,
    specs: dict[str, tuple[DatasetSpec, ...]],
    split: str,
    examples: int | None,
    seed: int,
) -> EpochDataset:
    length = window_length(arguments, config)
    sources = tuple(config.sources)
    if resolve_shape(arguments) == "mixtures":
        check_mixture_sources(sources)

        def pool(name: str, *of_speech) -> ClipPool:
            options = (config.sampling_rate, arguments.audio_column, config.channels, arguments.strict, *of_speech)
            return ClipPool([ClipCollection(spec, split, *options) for spec in specs[name]])

        speech, noise = pool("speech", arguments.excluded_speakers, arguments.cleaned_column), pool("noise")
        _check_speakers(arguments.excluded_speakers, speech.collections)
        logger.info(f"{split}: {len(speech)} clips of speech, {len(noise)} of noise")
        return SpeechNoiseMixtures(speech, noise, length, examples or len(speech), arguments, seed)
    collections = [
        ParallelCollection(spec, split, arguments, sources, config.sampling_rate, config.channels)
        for spec in specs["dataset"]
    ]
    clips = sum(len(collection) for collection in collections)
    logger.info(f"{split}: {clips} clips")
    return ParallelWindows(collections, length, examples or clips, arguments, seed)


def _check_speakers(excluded: list[str], speech: list[ClipCollection]) -> None:
    speakers = set().union(*(collection.speakers for collection in speech))
    for name in excluded:
        if name not in speakers:
            datasets = ", ".join(str(collection.spec) for collection in speech)
            first = ", ".join(sorted(speakers)[:30]) + (" …" if len(speakers) > 30 else "")
            known = f"but {first}" if speakers else "for there is no column speaker"
            raise ValueError(f"excluded_speakers={name!r}: no such speaker in {datasets}, {known}")


def _build_streamed(arguments: DataArguments, config, specs, split: str, examples: int | None, seed: int):
    length, share = window_length(arguments, config), Share()
    if resolve_shape(arguments) == "mixtures":
        check_mixture_sources(tuple(config.sources))
        return StreamedMixtures(
            specs["speech"], specs["noise"], split, arguments, config, length, examples, seed, share
        )
    return StreamedWindows(specs["dataset"], split, arguments, config, length, examples, seed, share)


def window_length(arguments: DataArguments, config) -> int:
    """Samples of an example: what the model needs for `window_seconds` of output."""
    return config.input_length_for(round(arguments.window_seconds * config.sampling_rate))


def training_specs(arguments: DataArguments) -> dict[str, tuple[DatasetSpec, ...]]:
    """The datasets that train, by what they hold: `dataset`, or `speech` and `noise`."""
    return {
        "dataset": parse_specs(arguments.dataset),
        "speech": parse_specs(arguments.speech_dataset),
        "noise": parse_specs(arguments.noise_dataset),
    }


def validation_specs(arguments: DataArguments) -> dict[str, tuple[DatasetSpec, ...]]:
    """The datasets that validate: those named for it, or the training ones, of which another split is used."""
    given = {
        "dataset": parse_specs(arguments.validation_dataset),
        "speech": parse_specs(arguments.validation_speech_dataset),
        "noise": parse_specs(arguments.validation_noise_dataset),
    }
    # A split in a training dataset's spec is the training split.
    default = {
        name: tuple(replace(spec, split=None) for spec in specs) for name, specs in training_specs(arguments).items()
    }
    return {name: given[name] or default[name] for name in given}


def resolve_shape(arguments: DataArguments) -> str:
    """`"mixtures"` or `"recordings"` (pairs or stems).

    Raises:
        ValueError: datasets are missing, or given for both.
    """
    given = {name for name in ("speech_dataset", "noise_dataset", "dataset") if parse_specs(getattr(arguments, name))}
    shape = arguments.shape
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
    """Raises ValueError where the model has other than two sources."""
    if len(sources) != 2:
        raise ValueError(f"speech and noise train two sources, not {', '.join(sources)}; give stems (dataset=…)")
