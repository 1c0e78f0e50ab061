"""`clean_dataset`: cleans the audio of a dataset that is loaded, or streamed."""

import dataclasses
import hashlib
import os
from typing import TYPE_CHECKING, Any

from ..loading import DEFAULT_MODEL


if TYPE_CHECKING:
    from ..models.modeling_separation import SeparationMixin


def clean_dataset(
    dataset: Any,
    model: "SeparationMixin | str | os.PathLike" = DEFAULT_MODEL,
    *,
    column: str | None = None,
    keep_original: bool = False,
    background_column: str | None = None,
    background_db: float = -float("inf"),
    scores: bool = False,
    min_dnsmos: float | None = None,
    strict: bool = False,
    batch_size: int = 16,
) -> Any:
    r"""
    Cleans the audio column of a dataset. The rows, their order and the other columns stay.

    The audio keeps its sampling rate, channels, length and, where it has one, encoding. A row that cannot be cleaned
    gets a null, and the reason in the new column `clean_error`.

        >>> clean_dataset(load_dataset("org/noisy-speech"), "waveunet-speech-16khz").push_to_hub("org/clean-speech")

    Args:
        dataset (`Dataset`, `DatasetDict`, `IterableDataset` or `IterableDatasetDict` of `datasets`): a stream is
            cleaned while it is read.
        model: as [`load_model`] gives it, or a name for it.
        column (`str`, *optional*): the column with the audio; by default `audio`, or the only one with audio.
        keep_original (`bool`, *optional*): the cleaned audio goes to a column of its own, `<column>_clean`.
        background_column (`str`, *optional*): name of a new column for what was taken out.
        background_db (`float`, *optional*): how much of the background stays in, in dB, at most 0.
        scores (`bool`, *optional*): adds the columns `level_change_db`, `dnsmos_before` and `dnsmos_after`.
        min_dnsmos (`float`, *optional*): drops rows whose cleaned audio scores less. Implies `scores`.
        strict (`bool`, *optional*): the first row that cannot be cleaned raises an error.
        batch_size (`int`, *optional*): rows that are in memory at a time. On a GPU, they are separated together.

    Returns:
        A dataset of the same kind.

    Raises:
        ValueError: a column is missing or has a name that the result needs, or an option is out of its range.
    """
    from datasets import DatasetDict, IterableDatasetDict

    from ..cleaning.options import CleaningOptions, cleaned_features, find_column
    from ..cleaning.rows import RowCleaner
    from ..cleaning.shards import TableCleaner, is_dropped
    from ..loading import load_model

    options = CleaningOptions(column, keep_original, background_column, background_db, scores, min_dnsmos, strict)
    if isinstance(model, (str, os.PathLike)):
        model = load_model(model)
    cleaner = RowCleaner(model, options)

    def clean_split(split):
        features = split.features or split._resolve_features().features
        column = find_column(features, options.column, "dataset")
        new_features = cleaned_features(features, column, options, "dataset")
        clean = TableCleaner(cleaner, column, new_features)

        def clean_table(table):
            result, rows = clean(table)
            failed = next((row for row in rows if row.error), None)
            if failed is not None and options.strict:
                raise ValueError(f"a row of the dataset: {failed.error}; repair or remove it, or leave out strict")
            return result.filter([not is_dropped(row, options) for row in rows])

        arguments: dict = {"batched": True, "batch_size": batch_size, "features": new_features}
        if hasattr(split, "_fingerprint"):  # of the options and the weights; `datasets` would hash all objects
            arguments["new_fingerprint"] = _fingerprint(split._fingerprint, model, dataclasses.asdict(options))
        return split.with_format("arrow").map(clean_table, **arguments).with_format(_format_of(split))

    if isinstance(dataset, (DatasetDict, IterableDatasetDict)):
        return type(dataset)({name: clean_split(split) for name, split in dataset.items()})
    return clean_split(dataset)


def _fingerprint(before: str, model, options: dict) -> str:
    digest = hashlib.sha256(repr((before, str(model.config), str(model.dtype), sorted(options.items()))).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _format_of(split) -> str | None:
    if hasattr(split, "_format_type"):
        return split._format_type
    return split._formatting.format_type if split._formatting else None
