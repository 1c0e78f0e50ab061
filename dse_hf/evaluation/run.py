"""Scores systems on a dataset. The scores are kept in a file, with which an interrupted run continues."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from ..data import Clip
from .metrics import available_metrics
from .results import RESULTS, ResultsFile
from .systems import SeparationModel, System
from .workers import Scoring, score_all


def evaluate(
    systems: list[System],
    clips: Callable[[], Iterable[Clip]],
    output_dir,
    *,
    sampling_rate: int = 16000,
    sources: list[str] | None = None,
    description: dict | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    r"""
    Scores every system on every clip and writes `results.json`. A later run continues with that file.

        >>> systems = [load_system("input"), load_system("waveunet-speech-16khz")]
        >>> results = evaluate(systems, lambda: evaluation_clips(arguments, "test"), "evaluation")
        >>> results["models"]["waveunet-speech-16khz"]["mean"]["si_sdr_improvement"]

    Scores in the file are not computed again if they are of the same version of the system. The scores of other
    systems in the file stay, and are part of the results.

    Args:
        systems (`list[System]`): see [`load_system`].
        clips (`Callable`): a function that gives the [`Clip`]s, the same ones at every call. The results record
            their attributes `snr`, `kind` and `speaker`, and the last two parts of their names: folder and file.
        output_dir (`str` or `os.PathLike`): folder of the results; it is made if needed.
        sampling_rate (`int`, *optional*, defaults to 16000): sampling rate of the clips and of the scores, in Hz.
        sources (`list[str]`, *optional*): names of the K references; by default [`common_sources`] of the systems.
            The first one is speech: metrics that are for speech only are taken of it alone.
        description (`dict`, *optional*): facts about the dataset, for the results; as in JSON.
        jobs (`int`, *optional*, defaults to 1): number of processes. PyTorch's threads are divided among them.
        progress (`Callable`, *optional*): called with the number of scores so far and the number of all scores; a
            score is that of one clip by one system.

    Returns:
        `dict`: what `results.json` has: `models` (name → `mean`, `median`, `interval`, `not_scored`, `groups`,
        `other_sources`, see [`summarize`], and `clips`), `dataset`, `config`, `versions`, `hardware`.

    Raises:
        EvaluationError: a system failed on a clip.
        ValueError: two systems have one name, or one cannot give the sources; there are no clips, or their shapes do
            not fit; the file has scores of other clips.
        KeyboardInterrupt: the user interrupted. The scores so far are in the file.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}: must be at least 1")
    names = [system.name for system in systems]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"model {repeated[0]!r}: given twice; leave one out")
    sources = sources or common_sources(systems)
    for system in systems:
        system.check_sources(sources)
    metrics = available_metrics(sampling_rate)
    dataset = {**(description or {}), **_describe(with_unique_names(clips()), sampling_rate, sources)}
    store = ResultsFile(Path(output_dir) / RESULTS, dataset, metrics)
    missing = store.prepare(systems)
    total = len(systems) * dataset["clips"]
    done = total - sum(map(len, missing.values()))
    tasks = (
        (system, clip)
        for clip in (with_unique_names(clips()) if any(missing.values()) else ())
        for system in systems
        if clip.name in missing[system.name]
    )
    try:
        jobs = min(jobs, max(1, total - done))
        for name, record in score_all(tasks, systems, Scoring(sampling_rate, sources, metrics), jobs):
            store.add(name, record)
            done += 1
            if progress is not None:
                progress(done, total)
    finally:
        store.save()
    return store.finish()


def common_sources(systems: list[System]) -> list[str]:
    """The sources of the first model among the systems; foreground and background if there is no model."""
    models = [system.model for system in systems if isinstance(system, SeparationModel)]
    return list(models[0].config.sources) if models else ["foreground", "background"]


def common_channels(systems: list[System]) -> int:
    """The largest number of channels that a model among the systems separates together; 1 if there is no model."""
    return max((system.model.config.channels for system in systems if isinstance(system, SeparationModel)), default=1)


def with_unique_names(clips: Iterable[Clip]) -> Iterator[Clip]:
    """Names the clips by last folder and file. A repeated name gets a number: `test/a.wav`, `test/a.wav #2`."""
    names = set()
    for clip in clips:
        stem = "/".join(PurePath(clip.name).parts[-2:])
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem} #{number}"
        names.add(name)
        yield replace(clip, name=name)


def fingerprint(clip: Clip) -> str:
    """A hash of a clip's samples."""
    digest = hashlib.sha256()
    for samples in (clip.mixture, clip.references):
        digest.update(f"{samples.shape}".encode())
        digest.update(np.ascontiguousarray(samples, "<f4").data)
    return digest.hexdigest()[:16]


def _describe(clips: Iterable[Clip], sampling_rate: int, sources: list[str]) -> dict:
    """Number, length, names and fingerprint of the clips."""
    digest, names, samples = hashlib.sha256(f"{sampling_rate} {sources}".encode()), [], 0
    for clip in clips:
        shape = (len(sources), *clip.mixture.shape)
        if clip.mixture.ndim != 2 or clip.references.shape != shape or clip.mixture.size == 0:
            raise ValueError(
                f"clip {clip.name!r}: a mixture of shape {clip.mixture.shape} with references of shape "
                f"{clip.references.shape}; they must be (channels, samples) and ({len(sources)}, channels, samples)"
            )
        digest.update(f"{clip.name} {fingerprint(clip)}".encode())
        names.append(clip.name)
        samples += clip.mixture.shape[-1]
    if not names:
        raise ValueError("the dataset has no clips; name another split")
    return {
        "clips": len(names),
        "seconds": round(samples / sampling_rate, 3),
        "sampling_rate": sampling_rate,
        "sources": sources,
        "fingerprint": digest.hexdigest()[:16],
        "names": names,
    }
