"""Whole clips through `model.separate`: their scores, and what TensorBoard shows of them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ..data import Clip
from ..evaluation.metrics import available_metrics, score_signal
from ..evaluation.run import fingerprint
from ..evaluation.summary import summarize


RATIOS = ["si_sdr", "si_sdr_improvement", "sdr"]


@dataclass
class HeardClip:
    """A clip and its separated sources (K, C, T)."""

    clip: Clip
    sources: NDArray[np.float32]


def score_clips(
    model, clips: Iterable[Clip], perceptual: bool = False, keep: int = 0
) -> tuple[list[dict], list[HeardClip]]:
    """Separates the clips and scores every source; gives back the first `keep` clips with their sources, too.

    Scores are SI-SDR, its improvement over the mixture and SDR in dB; if `perceptual`, those of
    [`available_metrics`] of the first source as well. A record is as in [`evaluate`]'s results, and has those of the
    mixture under `input`.
    """
    records, heard = [], []
    rate, names = model.config.sampling_rate, model.config.sources
    for clip in clips:
        separated = model.separate(torch.from_numpy(clip.mixture), rate)
        sources = np.stack([separated[name].cpu().numpy() for name in names])
        record = {"name": clip.name, "attributes": clip.attributes, "scores": {}, "not_scored": {}}
        record.update(seconds=round(clip.mixture.shape[-1] / rate, 3), fingerprint=fingerprint(clip))
        record["input"] = {"scores": {}, "not_scored": {}}
        for name, estimate, reference in zip(names, sources, clip.references):
            wanted = available_metrics(rate) if perceptual and name == names[0] else RATIOS
            for into, signal in ((record, estimate), (record["input"], clip.mixture)):
                scores, reasons = score_signal(signal, reference, clip.mixture, rate, wanted)
                into["scores"][name] = scores
                if reasons:
                    into["not_scored"][name] = reasons
        records.append(record)
        if len(heard) < keep:
            heard.append(HeardClip(clip, sources))
    return records, heard


def mean_metrics(records: list[dict], sources: list[str]) -> dict[str, float]:
    """Means over the clips that have a score: `si_sdr` and so on of the first source, `vocals_si_sdr` of each one."""
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
    """The records of a model's clips as `dse-hf evaluate` writes its results."""
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
    """Sound and spectrograms of clips to TensorBoard: the mixture, and every source beside its reference."""
    from ..evaluation.figures import spectrogram_figure

    for number, item in enumerate(heard):
        signals = {"mixture": item.clip.mixture}
        for name, reference, estimate in zip(config.sources, item.clip.references, item.sources):
            signals[name], signals[f"{name}, reference"] = estimate, reference
        for title, signal in signals.items():
            sound = torch.from_numpy(signal).mean(dim=0, keepdim=True)
            writer.add_audio(f"clip {number}/{title}", sound, step, config.sampling_rate)
        writer.add_figure(f"clip {number}", spectrogram_figure(signals, config.sampling_rate), step)
