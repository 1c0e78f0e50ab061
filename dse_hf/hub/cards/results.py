"""Scores → what a model card shows of them: a table, and `EvalResult`s for its metadata."""

from dataclasses import dataclass

from ...evaluation.metrics import METRICS
from ...evaluation.model_index import eval_results, means_to_eval_results
from ...evaluation.peers import INPUT, known_systems
from ...evaluation.tables import describe_dataset, finished_systems, format_table, markdown_table, round_score


@dataclass(frozen=True)
class Scores:
    """The scores of a model."""

    markdown: str  # a table for the text of the card
    eval_results: list  # the same for its metadata, as `huggingface_hub.EvalResult`s


def read_scores(results: dict | None, name: str) -> Scores | None:
    """The scores of the model `name`, or `None` if there are none.

    `results` is what `dse-hf evaluate` writes, in which the model is found by the last part of its name, or metric →
    number, as the Trainer gives them.
    """
    if not results:
        return None
    return (_from_evaluation if isinstance(results.get("models"), dict) else _from_trainer)(results, name)


def _from_evaluation(results: dict, name: str) -> Scores | None:
    entries = finished_systems(results)
    models = [key for key in entries if key not in known_systems()]
    named = [key for key in models if key.rstrip("/").rpartition("/")[2] == name.rpartition("/")[2]]
    if not named and len(models) == 1:
        named = models
    if not named:
        return None
    table = markdown_table(results, by="snr" if entries[named[0]]["groups"].get("snr") else None)
    note = f"Means over: {describe_dataset(results)}. `{INPUT}` is the noisy input."
    return Scores(f"{table}\n\n{note}", eval_results(results, named[0]))


def _from_trainer(results: dict, name: str) -> Scores | None:
    """Scores of the validation set; the Trainer's losses and times are left out."""
    values = {
        key.removeprefix("eval_").removeprefix("validation_").removeprefix("test_"): float(value)
        for key, value in results.items()
        if isinstance(value, (int, float))
    }
    means = {metric: values[metric] for metric in METRICS if metric in values}
    if not means:
        return None
    row = [round_score(metric, value) for metric, value in means.items()]
    table = format_table([METRICS[metric].heading() for metric in means], row)
    shown = means_to_eval_results(means, dataset_type="audio", dataset_name="validation set")
    return Scores(f"{table}\n\nOn the validation set of the training.", shown)
