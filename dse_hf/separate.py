"""Separates a file of any length into files of its sources, in constant memory."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .audio import AudioError, AudioReader, Resampler, quantize
from .audio.formats import integer_bits
from .audio.metadata import copy_metadata
from .audio.outputs import open_writer, output_suffix
from .audio.writer import FileWriter
from .errors import describe_os_error


if TYPE_CHECKING:
    from .models.modeling_separation import SeparationMixin


@dataclass
class SeparationResult:
    """
    Args:
        input (`str`): name of the file that was separated.
        outputs (`dict[str, str]`): path of the file of every source.
        sampling_rate, channels, frames (`int`): of the input and every output, in Hz and samples per channel.
        seconds (`float`): length of the input.
        levels (`dict[str, float]`): RMS level of every source in dBFS; `-inf` for silence.
        elapsed (`float`): seconds that the separation took.
        silent (`bool`): whether all samples of the input are zero. Then those of all outputs are.
        clipped (`int`): samples of the outputs that were above full scale, and that the file format clips.
        notes (`list[str]`): what of the input could not be carried over to an output.
    """

    input: str
    outputs: dict[str, str]
    sampling_rate: int
    channels: int
    frames: int
    seconds: float
    levels: dict[str, float]
    elapsed: float
    silent: bool = False
    clipped: int = 0
    notes: list[str] = field(default_factory=list)


def separate_file(
    model: "SeparationMixin",
    source: str | os.PathLike | BinaryIO,
    output_dir: str | os.PathLike | None = None,
    *,
    sources: list[str] | None = None,
    file_format: str = "wav",
    track: int | None = None,
    overwrite: bool = False,
    background_db: float = -math.inf,
    progress: Callable[[float, float | None], None] | None = None,
    block_seconds: float = 1.0,
) -> SeparationResult:
    r"""
    Writes the sources of an audio file to files `<stem>.<source>.<file_format>`.

    They have the input's sampling rate, channels and length to the sample, and its sample format where the
    file format has it. They sum to the input: to the bit, if that is of integers and nothing clips. Only
    complete files appear, and only if all do. The file is read twice if the level matters to the model.

        >>> separate_file(load_model(), "noisy.m4a", "out").outputs
        {'foreground': 'out/noisy.foreground.wav', 'background': 'out/noisy.background.wav'}

    Args:
        model: a model with `separation_stream`, as [`load_model`] gives it.
        source: see [`AudioReader`].
        output_dir (`str` or `os.PathLike`, *optional*): made if needed; by default the input's folder.
        sources (`list[str]`, *optional*): names of the sources to write; by default all of the model's.
        file_format (`str`, *optional*, defaults to `"wav"`): one of `dse_hf.audio.FILE_FORMATS`, or `"same"` for the
            format of the input. Of a video, all but the audio track is then copied.
        track (`int`, *optional*): which audio track to separate, from 1; by default the one that players choose.
        overwrite (`bool`, *optional*, defaults to `False`): replace existing files.
        background_db (`float`, *optional*, defaults to `-inf`): how much of the background the first source keeps, in
            dB, at most 0. `-inf` leaves nothing in.
        progress (`Callable`, *optional*): called with the seconds that are done and the seconds in all, which
            may be an estimate or `None`.
        block_seconds (`float`, *optional*, defaults to 1.0): of audio that is read at a time.

    Raises:
        AudioError: the input cannot be read, or an output cannot be written.
        ValueError: a source that the model does not have, a `background_db` above 0, or a model that gives NaN.
    """
    from .models.modeling_separation import background_gain  # slow to import

    started = time.perf_counter()
    gain = background_gain(background_db)
    names = model.config.sources
    chosen = check_sources(names, sources)
    with AudioReader(source, block_seconds, track) as reader, ExitStack() as stack:
        paths = output_paths(source, output_dir, chosen, file_format)
        level_gain = _level_gain(model, reader)
        options = {"file_format": file_format, "track": track, "overwrite": overwrite}
        writers = _open_writers(stack, reader, source, paths, options)
        subtype, notes = writers[chosen[0]].subtype, []
        energy, frames, silent, clipped = np.zeros(len(names)), 0, True, 0
        for mixture, blocks in _separated_blocks(model, reader, level_gain, gain):
            if integer_bits(subtype) is not None:
                clipped += sum(int(np.count_nonzero(np.abs(blocks[names.index(name)]) > 1)) for name in chosen)
            blocks = _stored(mixture, blocks, subtype)
            _check_finite(blocks[-1], mixture, reader.name)
            for name, writer in writers.items():
                writer.write(blocks[names.index(name)])
            energy += [np.sum(np.square(block, dtype=np.float64)) for block in blocks]
            silent = silent and not mixture.any()
            frames += len(mixture)
            if progress is not None:
                seconds = frames / reader.sampling_rate
                progress(seconds, reader.seconds and max(reader.seconds, seconds))
        # Finish all files before the first one gets its name, so that a full disk is noticed here.
        for writer in writers.values():
            writer.close()
            notes += copy_metadata(reader, writer)
    power = dict(zip(names, energy / (frames * reader.channels)))
    return SeparationResult(
        input=reader.name,
        outputs={name: str(path) for name, path in paths.items()},
        sampling_rate=reader.sampling_rate,
        channels=reader.channels,
        frames=frames,
        seconds=frames / reader.sampling_rate,
        levels={name: 10 * math.log10(power[name]) if power[name] else -math.inf for name in chosen},
        elapsed=time.perf_counter() - started,
        silent=silent,
        clipped=clipped,
        notes=list(dict.fromkeys(notes)),
    )


def _level_gain(model, reader: AudioReader) -> float:
    """Reads the file once to find the factor that brings it to a usual level for the network."""
    import torch  # slow to import

    from .models.modeling_level import LevelMeter, knows_every_level

    if knows_every_level(model.config):
        return 1.0
    meter = LevelMeter(reader.sampling_rate)
    for block in reader:
        meter.add(torch.from_numpy(np.ascontiguousarray(block.T)))
    reader.restart()
    return meter.gain()


def check_sources(available: list[str], chosen: list[str] | None) -> list[str]:
    """Returns the chosen sources, by default all. Raises a ValueError if the model does not give one of them."""
    for name in chosen or ():
        if name not in available:
            raise ValueError(f"source {name!r}: this model gives {', '.join(available)}")
    return list(dict.fromkeys(chosen or available))


def output_paths(source, output_dir, sources: list[str], file_format: str) -> dict[str, Path]:
    """Where [`separate_file`] writes each source."""
    path = Path(source if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "audio")))
    folder = path.parent if output_dir is None else Path(output_dir)
    stem, suffix = path.stem.strip("<>"), output_suffix(source, file_format)  # <> of <stdin>
    return {name: folder / f"{stem}.{name}.{suffix}" for name in sources}


def results_are_current(source: str | os.PathLike, results: Iterable[Path], track: int | None = None) -> bool:
    """Whether all results of a file exist, are newer than it, and as long, as far as their headers tell.

    Lengths within a tenth of a second, or a hundredth of the length, count as equal: codecs add some samples.
    """
    try:
        changed = os.stat(source).st_mtime
        lengths = [_stated_seconds(source, track)]
        for result in results:
            if os.stat(result).st_mtime < changed:
                return False
            lengths.append(_stated_seconds(result, None))
    except (OSError, AudioError):
        return False
    stated = [length for length in lengths if length is not None]
    return not stated or max(stated) - min(stated) <= max(0.1, 0.01 * max(stated))


def _stated_seconds(path, track: int | None) -> float | None:
    with AudioReader(path, track=track) as reader:
        return None if reader.frames is None else reader.frames / reader.sampling_rate


def _open_writers(stack: ExitStack, reader: AudioReader, source, paths, options) -> dict[str, FileWriter]:
    writers = {}
    for name, path in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(f"{path.parent}: {describe_os_error(error)}") from error
        if isinstance(source, (str, os.PathLike)) and os.path.exists(path) and os.path.samefile(source, path):
            raise AudioError(f"{path}: is the input itself; choose another folder for the output")
        writers[name] = stack.enter_context(open_writer(path, reader, **options))
    return writers


def _separated_blocks(
    model, reader: AudioReader, level_gain: float, gain: float
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yields blocks (n, channels) of the file, each with its K sources of that shape.

    The first source keeps the background, times `gain`.
    """
    from .models.modeling_separation import keep_background, rest_of_mixture  # slow to import

    mixtures = _BlockQueue()
    for estimate in _estimates(model, reader, level_gain, mixtures):
        if len(estimate) == 0:
            continue
        mixture = mixtures.take(len(estimate))
        _check_finite(estimate, mixture, reader.name)
        predicted = estimate.reshape(len(estimate), -1, reader.channels).astype(mixture.dtype)
        with np.errstate(over="ignore"):
            sources = keep_background(mixture, list(predicted.swapaxes(0, 1)), gain)
            yield mixture, [*sources, rest_of_mixture(mixture, sources)]


def _stored(mixture: np.ndarray, sources: list[np.ndarray], subtype: str) -> list[np.ndarray]:
    """The sources of a block as the file format stores them."""
    from .models.modeling_separation import rest_of_mixture

    if integer_bits(subtype) is None:
        return sources
    # Round to the file's integers first. Then the last source is on their grid too, and the sum is exact.
    rounded = [quantize(source, subtype) for source in sources[:-1]]
    return [*rounded, rest_of_mixture(mixture, rounded)]


def _check_finite(source: np.ndarray, mixture: np.ndarray, name: str) -> None:
    if not np.isfinite(source).all():
        peak = np.abs(mixture).max()
        advice = f"bring its peak of {peak:.3g} to full scale, 1" if peak > 100 else "try --dtype float32"
        raise ValueError(f"{name}: the model gave NaN or infinity; {advice}")


def _estimates(model, reader: AudioReader, level_gain: float, mixtures: "_BlockQueue") -> Iterator[np.ndarray]:
    """Yields all sources except the last, at the file's rate, as (n, (K - 1)·channels). Queues the file's blocks.

    file ─┬─▶ resample ─▶ network ─▶ resample back ─▶ yielded
          └─▶ mixtures
    """
    import torch  # slow to import, and not needed to tell that a file is missing

    channels, predicted = reader.channels, len(model.config.sources) - 1
    to_model = Resampler(reader.sampling_rate, model.config.sampling_rate, channels)
    to_file = Resampler(model.config.sampling_rate, reader.sampling_rate, channels * predicted)
    stream = model.separation_stream()
    stream.last_source = False  # it is computed at the file's rate
    stream.gain = level_gain

    def separate(step: Callable, *blocks: np.ndarray) -> np.ndarray:
        tensors = [torch.from_numpy(np.ascontiguousarray(block.T, np.float32))[None] for block in blocks]
        sources = step(*tensors)[0, :predicted]  # (K - 1, C, m)
        return to_file.push(sources.flatten(0, 1).T.numpy())

    for block in reader.blocks(reader.dtype):
        mixtures.append(block)
        yield separate(stream.push, to_model.push(block))
    yield separate(stream.push, to_model.flush())
    yield separate(stream.flush)
    yield to_file.flush(total=mixtures.received)


class _BlockQueue:
    """A queue of blocks (n, channels). The samples keep their order; the sizes of the blocks change."""

    def __init__(self):
        self.received = 0
        self._blocks: list[np.ndarray] = []

    def append(self, block: np.ndarray) -> None:
        self.received += len(block)
        self._blocks.append(block)

    def take(self, length: int) -> np.ndarray:
        """The next `length` samples."""
        waiting = np.concatenate(self._blocks)
        self._blocks = [waiting[length:].copy()]  # a copy, so that the samples before it can be freed
        return waiting[:length]
