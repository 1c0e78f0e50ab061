"""Cleans one shard: reads its rows, cleans their audio, and writes a parquet file with a report of its own."""

import io
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .options import ERROR_COLUMN, SCORE_COLUMNS, CleaningOptions, cleaned_column
from .plan import Shard, Work
from .rows import CleanedRow, RowCleaner
from .storage import Storage


REPORT_KEY = b"dse_hf.clean"  # of the report, in the metadata of the parquet file
HISTOGRAM = np.arange(1, 5.01, 0.25)  # edges of the bins of DNSMOS


@dataclass
class ShardReport:
    """What became of the rows of a shard, or of several.

    Attributes:
        rows, written (`int`): rows of the source, and of the result.
        seconds (`float`): audio that was cleaned.
        errors (`dict[str, int]`): reason → rows that could not be cleaned.
        formats (`dict[str, int]`): codec that cannot be written → rows that came in it, and are flac now.
        dropped (`list`): (config, split, row, DNSMOS) of rows below `min_dnsmos`.
        before, after (`list[int]`): counts of rows by DNSMOS, see `HISTOGRAM`.
        sums (`list[float]`): of DNSMOS before and after.
    """

    rows: int = 0
    written: int = 0
    seconds: float = 0.0
    errors: Counter = field(default_factory=Counter)
    formats: Counter = field(default_factory=Counter)
    dropped: list = field(default_factory=list)
    before: list = field(default_factory=lambda: [0] * (len(HISTOGRAM) - 1))
    after: list = field(default_factory=lambda: [0] * (len(HISTOGRAM) - 1))
    sums: list = field(default_factory=lambda: [0.0, 0.0])

    def count(self, row: CleanedRow) -> None:
        """Counts a row, but not whether it is written or dropped."""
        self.rows += 1
        self.seconds += row.seconds
        self.errors.update([row.reason] if row.error else [])
        self.formats.update([row.kind] if row.kind else [])
        if row.before is not None and row.after is not None:
            for counts, number, score in ((self.before, 0, row.before), (self.after, 1, row.after)):
                counts[int(np.clip(np.digitize(score, HISTOGRAM) - 1, 0, len(counts) - 1))] += 1
                self.sums[number] += score

    def add(self, other: "ShardReport") -> None:
        """Adds the rows of another shard."""
        self.rows, self.written, self.seconds = (
            self.rows + other.rows,
            self.written + other.written,
            self.seconds + other.seconds,
        )
        self.errors.update(other.errors)
        self.formats.update(other.formats)
        self.dropped += other.dropped
        for name in ("before", "after", "sums"):
            setattr(self, name, [a + b for a, b in zip(getattr(self, name), getattr(other, name))])

    def to_json(self) -> str:
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "ShardReport":
        report = cls(**json.loads(text))
        report.errors, report.formats = Counter(report.errors), Counter(report.formats)
        return report


class TableCleaner:
    """Cleans Arrow tables with the columns of a source."""

    def __init__(self, rows: RowCleaner, column: str, new_features):
        self.rows, self.column, self.new_features = rows, column, new_features

    def __call__(self, table) -> tuple[Any, list[CleanedRow]]:
        """Returns the table with the cleaned column and the new ones, and the rows."""
        cleaned = self.rows(table[self.column].to_pylist())
        return self._with_columns(table, cleaned), cleaned

    def stream(self, tables: Iterable) -> Iterator[tuple[Any, list[CleanedRow]]]:
        """Cleans tables one after another. Yields parts of them, as above."""
        parts: deque = deque()

        def batches() -> Iterator[list]:
            for table in tables:
                for start in range(0, table.num_rows, self.rows.at_once):
                    parts.append(table.slice(start, self.rows.at_once))
                    yield parts[-1][self.column].to_pylist()

        for cleaned in self.rows.stream(batches()):
            yield self._with_columns(parts.popleft(), cleaned), cleaned

    def _with_columns(self, table, cleaned: list[CleanedRow]) -> Any:
        import pyarrow as pa

        options, schema = self.rows.options, self.new_features.arrow_schema
        columns = {name: table[name] for name in table.column_names}
        values: dict[str, list] = {cleaned_column(self.column, options): [row.audio for row in cleaned]}
        if options.background_column is not None:
            values[options.background_column] = [row.background for row in cleaned]
        if options.has_scores:
            for name, attribute in zip(SCORE_COLUMNS, ("level_change", "before", "after")):
                values[name] = [getattr(row, attribute) for row in cleaned]
        values[ERROR_COLUMN] = [row.error for row in cleaned]
        columns |= {name: pa.array(items, schema.field(name).type) for name, items in values.items()}
        return pa.table([columns[name] for name in schema.names], schema=schema)


class ShardCleaner:
    """Cleans any shard of a piece of work, in one process."""

    def __init__(self, work: Work, device: str = "auto"):
        self.work, self.storage = work, Storage(work.output)
        self.rows = RowCleaner(work.model.load(device), work.options, work.folder)

    def __call__(self, shard: Shard, progress: Callable[[int, float], None] | None = None) -> ShardReport:
        """Writes the shard, and returns its report. Calls `progress` with the new rows and seconds of audio.

        Raises:
            ValueError: the source cannot be read or, with `strict`, a row cannot be cleaned.
            OSError: the result cannot be written.
        """
        clean, report = TableCleaner(self.rows, shard.column, shard.new_features), ShardReport()
        with self.storage.writing(shard.name) as path, _ParquetWriter(path, shard.new_features) as writer:
            tables = shard.part.tables(shard.features, self.work.source)
            for result, rows in clean.stream(tables):
                kept = [self._keeps(shard, report, row) for row in rows]
                report.written += sum(kept)
                writer.write(result if all(kept) else result.filter(kept))
                if progress is not None:
                    progress(len(rows), sum(row.seconds for row in rows))
            report.seconds = round(report.seconds, 6)
            writer.finish({REPORT_KEY: report.to_json()})
        return report

    def _keeps(self, shard: Shard, report: ShardReport, row: CleanedRow) -> bool:
        """Counts a row. Returns whether it stays in the result."""
        number = shard.first_row + report.rows
        if row.error and self.work.options.strict:
            raise ValueError(
                f"dataset {self.work.source}, split {shard.split}, row {number}: {row.error}; "
                "repair or remove it, or leave out --strict"
            )
        report.count(row)
        if not is_dropped(row, self.work.options):
            return True
        report.dropped.append([shard.config, shard.split, number, round(float(row.after or 0), 3)])
        return False


def is_dropped(row: CleanedRow, options: CleaningOptions) -> bool:
    """Whether a row scores too low. Rows without a score stay."""
    return options.min_dnsmos is not None and row.after is not None and row.after < options.min_dnsmos


class _ParquetWriter:
    """Writes tables as row groups of about 100 rows, as `datasets` does, so that the Hub's viewer can read a part."""

    GROUP = 96

    def __init__(self, path, features):
        import pyarrow.parquet as pq

        self.schema, self.waiting = features.arrow_schema, []
        self.sink = _Sink(path)
        # As `datasets` writes them: the Hub stores only the pages that differ from earlier versions.
        self.file = pq.ParquetWriter(self.sink, self.schema, use_content_defined_chunking=True, write_page_index=True)

    def write(self, table) -> None:
        self.waiting.append(table)
        if sum(table.num_rows for table in self.waiting) >= self.GROUP or _size(self.waiting) > 1 << 26:
            self._flush()

    def finish(self, metadata: dict) -> None:
        self._flush()
        self.file.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        import pyarrow as pa

        waiting, self.waiting = self.waiting, []
        if any(table.num_rows for table in waiting):
            self.file.write_table(pa.concat_tables(waiting))
            self.sink.check()

    def __enter__(self) -> "_ParquetWriter":
        return self

    def __exit__(self, exception_type, *exception) -> None:
        self.file.close()
        self.sink.close()
        if exception_type is None:
            self.sink.check()


class _Sink(io.RawIOBase):
    """A file for Arrow, which would abort the process if a write failed. The error waits for `check` instead."""

    def __init__(self, path):
        self.output, self.error = open(path, "wb"), None  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        try:
            if self.error is None:
                self.output.write(data)
        except OSError as error:
            self.error = error
        return len(data)

    def check(self) -> None:
        """Raises the first error of a write."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self.output.close()
            except OSError as error:
                self.error = self.error or error


def _size(tables: list) -> int:
    return sum(table.nbytes for table in tables)


def read_report(fs, path: str) -> ShardReport:
    """Reads the report of a shard that was written earlier."""
    import pyarrow.parquet as pq

    with fs.open(path, "rb") as file:
        return ShardReport.from_json(pq.read_metadata(file).metadata[REPORT_KEY])
