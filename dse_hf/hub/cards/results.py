"""Scores → what a model card shows of them: a table, and `EvalResult`s for its metadata."""

from dataclasses import dataclass


# Metric → title, digits
METRICS = {
    "si_sdr": ("SI-SDR (dB)", 1),
    "si_sdr_improvement": ("SI-SDR improvement (dB)", 1),
    "sdr": ("SDR (dB)", 1),
    "pesq": ("PESQ", 2),
    "stoi": ("STOI", 3),
    "estoi": ("ESTOI", 3),
}


@dataclass(frozen=True)
class Scores:
    markdown: str
    eval_results: list  # huggingface_hub.EvalResult


def read_scores(results: dict | None, name: str) -> Scores | None:
    r"""
    Args:
        results (`dict`, *optional*): of `dse-hf evaluate` (`models`), or metric → number, as the Trainer gives them.
        name (`str`): of the model; by its last part it is found among others.

    Returns:
        `Scores`, or None where there are none.
    """
    if not results:
        return None
    if isinstance(results.get("models"), dict):
        return _of_evaluation(results, name)
    return _of_training(results)


def _of_evaluation(results: dict, name: str) -> Scores | None:
    from ...evaluation.report import eval_results
    from ...evaluation.systems import INPUT, PEERS
    from ...evaluation.tables import markdown_table

    scored = [key for key, entry in results["models"].items() if "mean" in entry and key not in (INPUT, *PEERS)]
    named = [key for key in scored if key.rstrip("/").rpartition("/")[2] == name.rpartition("/")[2]]
    if not named and len(scored) == 1:
        named = scored
    if not named:
        return None
    dataset = results["dataset"]
    about = f"{dataset.get('name', 'dataset')}, {dataset['clips']} clips, {dataset['seconds'] / 60:.1f} minutes"
    by = "snr" if results["models"][named[0]]["groups"].get("snr") else None
    table = markdown_table(results, by=by)
    return Scores(f"{table}\n\nMeans over: {about}. `{INPUT}` is the noisy input.", eval_results(results, named[0]))


def _of_training(results: dict) -> Scores | None:
    """The Trainer's metrics, without what it tells of its speed."""
    means = {}
    for key, value in results.items():
        metric = key.removeprefix("eval_").removeprefix("validation_").removeprefix("test_")
        if metric in METRICS and isinstance(value, (int, float)):
            means[metric] = float(value)
    if not means:
        return None
    metrics = [metric for metric in METRICS if metric in means]
    table = "\n".join(
        [
            f"| {' | '.join(METRICS[metric][0] for metric in metrics)} |",
            "|---" * len(metrics) + "|",
            f"| {' | '.join(f'{means[metric]:.{METRICS[metric][1]}f}' for metric in metrics)} |",
        ]
    )
    return Scores(f"{table}\n\nOn the validation set of the training.", _eval_results(means, "validation set"))


def _eval_results(means: dict, dataset: str) -> list:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Source separation",
            dataset_type="audio",
            dataset_name=dataset,
            metric_type=metric,
            metric_name=METRICS[metric][0].removesuffix(" (dB)"),
            metric_value=value,
        )
        for metric, value in means.items()
        if metric in METRICS
    ]
