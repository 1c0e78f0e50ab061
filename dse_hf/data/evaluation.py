"""Whole clips for evaluation: always the same clips in the same order."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .arguments import DataArguments
from .augmentation import Waveform, gain_for_snr
from .bad_clips import DataError, report_bad_clips
from .building import open_clips, resolve_shape, validation_specs
from .clips import ClipCollection
from .collection import RowCollection
from .parallel import ParallelCollection


SNRS = (0.0, 5.0, 10.0, 15.0)


@dataclass
class Clip:
    """A mixture and its sources.

    Attributes:
        name (`str`): name of the file or of the row.
        mixture (`np.ndarray`, (C, T)): the input.
        references (`np.ndarray`, (K, C, T)): the sources, which sum to the mixture.
        attributes (`dict`): what is known of the clip: `snr` in dB, `kind` of noise, `speaker`, and other columns.
    """

    name: str
    mixture: Waveform
    references: Waveform
    attributes: dict = field(default_factory=dict)


def evaluation_clips(
    arguments: DataArguments,
    split: str,
    *,
    sampling_rate: int,
    sources: Sequence[str],
    channels: int = 1,
    limit: int | None = None,
    snrs: Sequence[float] | None = None,
) -> Iterator[Clip]:
    """Gives the whole clips of a split, the same ones every time.

    Pairs and stems are given as they are. Clean speech is mixed with noise of the same length: every clip of speech
    at every SNR. The first clips already have all SNRs, so that `limit` keeps the variety.

    Args:
        arguments (`DataArguments`): the datasets. Those of `validation_*`, if given, replace the others.
        split (`str`): for example `arguments.validation_split`.
        sampling_rate, channels (`int`): sampling rate in Hz and number of channels of the clips.
        sources (`Sequence[str]`): names of the K sources.
        limit (`int`, *optional*): largest number of clips.
        snrs (`Sequence[float]`, *optional*, defaults to 0, 5, 10 and 15): SNRs of speech to noise, in dB.

    Raises:
        ValueError: the datasets cannot be used, or `snrs` are given for pairs or stems.
    """
    specs = validation_specs(arguments)
    collections: list
    if resolve_shape(arguments) == "mixtures":
        speech, noise = (
            open_clips(specs[name], arguments, split, sampling_rate, channels) for name in ("speech", "noise")
        )
        clips = _mixtures(speech, noise, SNRS if snrs is None else snrs)
        collections = [*speech, *noise]
    else:
        if snrs is not None:
            raise ValueError(f"snrs={list(snrs)}: pairs and stems have the SNR they were recorded at; leave it out")
        collections = [
            ParallelCollection(spec, split, arguments, sources, sampling_rate, channels) for spec in specs["dataset"]
        ]
        clips = _recordings(collections)
    return _limited(clips, collections, limit)


def _limited(clips: Iterator[Clip], collections: Sequence[RowCollection], limit: int | None) -> Iterator[Clip]:
    given = 0
    for clip in clips:
        if limit is not None and given >= limit:
            break
        given += 1
        yield clip
    report_bad_clips(collections)
    if given == 0 and (limit is None or limit > 0):
        raise DataError(f"dataset {', '.join(str(item.spec) for item in collections)}: no clip can be used")


def _recordings(collections: Sequence[ParallelCollection]) -> Iterator[Clip]:
    for collection in collections:
        for index in range(len(collection)):
            references = collection.read_or_none(index)
            if references is not None:
                name = _title(collection, index)
                yield Clip(name, references.sum(axis=0), references, collection.attributes(index))


def _mixtures(
    speech: Sequence[ClipCollection], noise: Sequence[ClipCollection], snrs: Sequence[float]
) -> Iterator[Clip]:
    places = [(collection, index) for collection in speech for index in range(len(collection))]
    for turn in range(len(snrs)):
        for number, (collection, index) in enumerate(places):
            snr = float(snrs[(number + turn) % len(snrs)])
            foreground = collection.read_or_none(index)
            if foreground is None:
                continue
            rng = np.random.default_rng((number, turn))
            noises = noise[int(rng.integers(len(noise)))]
            kind, background = noises.draw(foreground.shape[-1], rng, balance=1.0)
            background = background * np.float32(gain_for_snr(foreground, background, snr))
            references = np.stack([foreground, background])
            mixture = references.sum(axis=0)
            # Mixture and sources are turned down together if the mixture would clip.
            gain = np.float32(min(1.0, 0.99 / np.abs(mixture).max()))
            attributes = {**collection.attributes(index), "snr": snr}
            if isinstance(kind, str):
                attributes["kind"] = kind
            yield Clip(_title(collection, index), mixture * gain, references * gain, attributes)


def _title(collection: RowCollection, index: int) -> str:
    """The name of a clip in results, which may be published: for a file, its place in the dataset's folder."""
    name = collection.name(index)
    with contextlib.suppress(ValueError):
        return Path(name).relative_to(collection.spec.name).as_posix()
    return name
