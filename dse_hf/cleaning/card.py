"""The card of a cleaned dataset: what it was made of, with what, and what came out."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping

from .options import CleaningOptions
from .plan import ModelId, Plan
from .shards import HISTOGRAM, ShardReport
from .sources import Source
from .targets import MARK


# Metadata of the source that hold for the result too.
_CARRIED = ("license", "license_name", "license_link", "language", "task_categories", "annotations_creators")


def render_card(
    title: str,
    source: Source,
    model: ModelId,
    plan: Plan,
    options: CleaningOptions,
    reports: Mapping[str, ShardReport],
    names: Iterable[str],
    command: str,
) -> str:
    """Returns the card of the shards `names`, which may be all of the plan or some."""
    import yaml

    names = set(names)
    shards = [shard for shard in plan.shards if shard.name in names]
    metadata = {key: source.metadata[key] for key in _CARRIED if source.metadata.get(key)}
    if source.on_hub:
        metadata["source_datasets"] = [source.name]
    metadata["tags"] = list(dict.fromkeys([*(source.metadata.get("tags") or []), "audio", "denoised", "dse-hf"]))
    metadata["configs"] = _configs(shards)
    total = ShardReport()
    for shard in shards:
        total.add(reports[shard.name])
    commit = f", commit {source.revision}" if source.on_hub else ""
    origin = f"[{source.name}](https://huggingface.co/datasets/{source.name})" if source.on_hub else "a local folder"
    model_name = os.path.basename(model.name.rstrip("/")) if os.path.isdir(model.name) else model.name
    model_commit = f", commit {model.commit}" if model.commit else f", SHA-256 {model.digest[:16]}"
    state = "" if len(shards) == len(plan.shards) else f"Not complete yet: {len(shards)} of {len(plan.shards)} shards."
    parts = [
        f"# {title}",
        MARK,
        state,
        "Recordings whose background was taken out. Rows, their order and the other columns are those of the source.",
        f"- made from: {origin}{commit}\n- model: `{model_name}`{model_commit}\n- fingerprint of source, model and "
        f"options: `{plan.fingerprint}`",
        f"```bash\n{command}\n```",
        _counts(shards, reports),
        _notes(total, options),
        _histogram(total),
    ]
    text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n" + "\n\n".join(part for part in parts if part) + "\n"


def _configs(shards: list) -> list[dict]:
    """The files of each split, for `load_dataset`."""
    files: dict[str, dict[str, str]] = {}
    for shard in shards:
        files.setdefault(shard.config, {})[shard.split] = re.sub(r"-\d{5}-of-\d{5}-", "-*-of-*-", shard.name)
    return [
        {"config_name": config, "data_files": [{"split": split, "path": path} for split, path in splits.items()]}
        for config, splits in files.items()
    ]


def _counts(shards: list, reports: Mapping[str, ShardReport]) -> str:
    totals: dict[tuple[str, str], ShardReport] = {}
    for shard in shards:
        totals.setdefault((shard.config, shard.split), ShardReport()).add(reports[shard.name])
    lines = ["| configuration | split | rows | hours | not cleaned | dropped |", "|---|---|---|---|---|---|"]
    for (config, split), report in totals.items():
        hours, errors = report.seconds / 3600, sum(report.errors.values())
        lines.append(
            f"| {config} | {split} | {report.written:,} | {hours:.2f} | {errors:,} | {len(report.dropped):,} |"
        )
    return "\n".join(lines)


def _notes(total: ShardReport, options: CleaningOptions) -> str:
    lines = []
    if total.errors:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(total.errors.items()))
        lines.append(f"- rows that could not be cleaned have no audio, and the reason in `clean_error`: {reasons}")
    if total.formats:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(total.formats.items()))
        lines.append(f"- audio in formats that cannot be written is flac now: {kinds}")
    if options.min_dnsmos is not None:
        lines.append(f"- rows whose DNSMOS was below {options.min_dnsmos:g} were dropped; `dropped.csv` lists them")
    if options.background_db > float("-inf"):
        lines.append(f"- the background stays in at {options.background_db:g} dB")
    return "\n".join(lines)


def _histogram(total: ShardReport) -> str:
    """A table of DNSMOS before and after; empty without scores."""
    count = sum(total.after)
    if not count:
        return ""
    lines = ["| DNSMOS | before | after |", "|---|---|---|"]
    for low, high, before, after in zip(HISTOGRAM, HISTOGRAM[1:], total.before, total.after):
        if before or after:
            lines.append(f"| {low:.2f} to {high:.2f} | {before:,} | {after:,} |")
    lines.append(f"| mean | {total.sums[0] / count:.2f} | {total.sums[1] / count:.2f} |")
    lines.append("\nDNSMOS also rises when speech is removed together with the noise.")
    return "\n".join(lines)


def dropped_rows(reports: Iterable[ShardReport]) -> str:
    """A CSV file of the rows that were dropped."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["config", "split", "row", "dnsmos_after"])
    for report in reports:
        writer.writerows(report.dropped)
    return file.getvalue()
