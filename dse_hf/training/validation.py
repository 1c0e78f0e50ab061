"""Validation on whole clips with `model.separate`: scores, results, and what TensorBoard shows."""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ..data import Clip
from ..evaluation.metrics import available_metrics, score_signal
from ..evaluation.run import fingerprint
from ..evaluation.summary import summarize


# A clip and its separated sources (K, C, T), for TensorBoard.
HeardClip = tuple[Clip, NDArray[np.float32]]


def score_clips(
    model, clips: Iterable[Clip], perceptual: bool = False, keep: int = 0
) -> tuple[list[dict], list[HeardClip]]:
    """Separates clips at the sampling rate of the model, and scores every source.

    With `perceptual`, the first source is also scored with the metrics that are for speech only, such as PESQ.

    Returns:
        `tuple`: a record for each clip, as in the results of [`evaluate`], which has the mixture's scores as `input`;
        and the first `keep` clips with their sources.
    """
    records, heard = [], []
    rate, names = model.config.sampling_rate, model.config.sources
    for clip in clips:
        separated = model.separate(torch.from_numpy(clip.mixture), rate)
        sources = np.stack([separated[name].cpu().numpy() for name in names])
        record: dict = {"name": clip.name, "attributes": clip.attributes, "scores": {}, "not_scored": {}}
        record.update(seconds=round(clip.mixture.shape[-1] / rate, 3), fingerprint=fingerprint(clip))
        record["input"] = {"scores": {}, "not_scored": {}}
        for name, estimate, reference in zip(names, sources, clip.references):
            wanted = available_metrics(rate, speech=perceptual and name == names[0])
            for into, signal in ((record, estimate), (record["input"], clip.mixture)):
                scores, reasons = score_signal(signal, reference, clip.mixture, rate, wanted)
                into["scores"][name] = scores
                if reasons:
                    into["not_scored"][name] = reasons
        records.append(record)
        if len(heard) < keep:
            heard.append((clip, sources))
    return records, heard


def mean_metrics(records: list[dict], sources: list[str]) -> dict[str, float]:
    """Mean scores: `vocals_si_sdr` and so on for each source, and `si_sdr` and so on for the first source."""
    means = {}
    for source in sources:
        scores = [record["scores"][source] for record in records]
        for metric in scores[0] if scores else ():
            values = [score[metric] for score in scores if score[metric] is not None]
            if values:
                means[f"{source}_{metric}"] = float(np.mean(values))
                if source == sources[0]:
                    means[metric] = means[f"{source}_{metric}"]
    return means


def results_of(records: list[dict], name: str, dataset: str, config) -> dict:
    """The records of a model's clips in the form in which `dse-hf evaluate` writes its results."""
    mixtures = [{**record, **record["input"]} for record in records]
    digest = hashlib.sha256(" ".join(record["fingerprint"] for record in records).encode())
    return {
        "models": {
            key: {
                **summarize(rows, config.sources),
                "clips": [{field: value for field, value in row.items() if field != "input"} for row in rows],
            }
            for key, rows in (("input", mixtures), (name, records))
        },
        "dataset": {
            "name": dataset,
            "clips": len(records),
            "seconds": round(sum(record["seconds"] for record in records), 3),
            "sampling_rate": config.sampling_rate,
            "sources": list(config.sources),
            "fingerprint": digest.hexdigest()[:16],
        },
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def log_clips(writer, heard: list[HeardClip], config, step: int) -> None:
    """Sends the sound and the spectrograms of clips to TensorBoard: the mixture, each source and its reference."""
    from ..evaluation.figures import spectrogram_figure

    for number, (clip, sources) in enumerate(heard):
        signals = {"mixture": clip.mixture}
        for name, reference, estimate in zip(config.sources, clip.references, sources):
            signals[name], signals[f"{name}, reference"] = estimate, reference
        for title, signal in signals.items():
            sound = torch.from_numpy(signal).mean(dim=0, keepdim=True)
            writer.add_audio(f"clip {number}/{title}", sound, step, config.sampling_rate)
        writer.add_figure(f"clip {number}", spectrogram_figure(signals, config.sampling_rate), step)
