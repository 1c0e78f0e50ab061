"""Scores → the `model-index` of a model card's metadata. Needs nothing but huggingface_hub and NumPy."""

from collections.abc import Mapping

from .metrics import METRICS
from .tables import dataset_name, finished_systems


def eval_results(results: dict, name: str) -> list:
    """The mean scores of the system `name` as `huggingface_hub.EvalResult`s, for `ModelCardData(eval_results=…)`.

    Raises:
        ValueError: the results of [`evaluate`] lack this system, or some of its scores.
    """
    entries, dataset = finished_systems(results), results["dataset"]
    if name not in entries:
        raise ValueError(f"model {name!r}: not in these results; they have {', '.join(entries) or 'none'}")
    return means_to_eval_results(
        entries[name]["mean"],
        dataset_type=dataset_name(results),
        dataset_name=dataset_name(results),
        dataset_split=dataset.get("split"),
        dataset_args={"clips": dataset["clips"], "fingerprint": dataset["fingerprint"]},
    )


def means_to_eval_results(means: Mapping[str, float | None], **dataset) -> list:
    """One `EvalResult` for each metric of the table that has a mean; `dataset` are its fields about the dataset."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Source separation",
            metric_type=metric,
            metric_name=METRICS[metric].title,
            metric_value=value,
            **dataset,
        )
        for metric, value in means.items()
        if value is not None and metric in METRICS
    ]


def model_index(results: dict, name: str) -> list[dict]:
    """The same scores as the value of `model-index` in a card's metadata."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    return eval_results_to_model_index(name, eval_results(results, name))
