"""Where the rows come from: a dataset on the Hub, a local folder or another place that fsspec reads."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..data.audio_folders import read_audio_folder
from ..data.specs import DatasetSpec
from ..errors import one_line
from ..loading import is_hub_id


BATCH_ROWS, BATCH_BYTES = 100, 1 << 26  # of rows that are in memory at a time
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class Part:
    """Consecutive rows of a source: row groups of a parquet file, or rows of an audio folder."""

    rows: int
    url: str = ""
    groups: tuple[int, ...] = ()
    listed: tuple[dict, ...] = ()

    def tables(self, features, name: str) -> Iterator[Any]:
        """Yields the rows as Arrow tables with columns of these types. `name` is that of the dataset, for errors."""
        with explained(name):
            yield from self._listed_tables(features) if self.listed else self._parquet_tables(features)

    def _listed_tables(self, features) -> Iterator[Any]:
        import pyarrow as pa

        for start in range(0, len(self.listed), BATCH_ROWS):
            rows = list(self.listed[start : start + BATCH_ROWS])
            yield pa.Table.from_pylist(rows, schema=features.arrow_schema)

    def _parquet_tables(self, features) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from datasets.table import table_cast

        with _open(self.url) as stream, pq.ParquetFile(stream) as file:
            for number in self.groups:
                group = file.metadata.row_group(number)
                bytes_per_row = max(1, group.total_byte_size // max(1, group.num_rows))
                size = max(1, min(BATCH_ROWS, BATCH_BYTES // bytes_per_row))
                for batch in file.iter_batches(size, row_groups=[number]):
                    table = pa.Table.from_batches([batch]).select(list(features))
                    yield table_cast(table, features.arrow_schema)


@dataclass(frozen=True)
class SplitParts:
    """A split of a configuration: the types of its columns, and its parts in the order of their rows."""

    config: str
    split: str
    features: Any
    parts: tuple[Part, ...]


@dataclass
class Source:
    """A dataset that can be cleaned.

    Attributes:
        name (`str`): as the user gave it.
        revision (`str`): the commit on the Hub; elsewhere a hash of the names, sizes and dates of the files.
        on_hub, restricted (`bool`): whether it is on the Hub, and there is private or gated.
        folder (`str`): where relative paths in its rows begin.
        metadata (`dict`): those of its card.
        splits (`list[SplitParts]`): what is chosen of it.
    """

    name: str
    revision: str
    on_hub: bool
    restricted: bool = False
    folder: str = ""
    metadata: dict = field(default_factory=dict)
    splits: list[SplitParts] = field(default_factory=list)


def open_source(
    name: str | os.PathLike,
    revision: str | None = None,
    configs: list[str] | None = None,
    splits: list[str] | None = None,
    shard_rows: int = 1000,
) -> Source:
    """Finds the files of a dataset, and divides their rows into parts of about `shard_rows`.

    Raises:
        ValueError: there is no such dataset, configuration, split or revision; it may not be read; or it consists of
            other files than parquet or audio.
    """
    name = str(name)
    if is_hub_id(name):
        source = _open_on_hub(name, revision)
    elif revision is not None:
        raise ValueError(f"dataset {name}: is a folder, which has no revision {revision!r}; leave it out")
    else:
        source = _open_folder(name)
    with explained(name):
        _find_parts(source, configs, splits, shard_rows)
    return source


def _open_on_hub(name: str, revision: str | None) -> Source:
    from huggingface_hub import HfApi

    with explained(name, revision):
        info = HfApi().dataset_info(name, revision=revision, timeout=30)
        if info.gated:
            HfApi().auth_check(name, repo_type="dataset")
    metadata = dict(info.card_data.to_dict()) if info.card_data is not None else {}
    folder = f"hf://datasets/{name}@{info.sha}"
    return Source(name, str(info.sha), True, bool(info.private or info.gated), folder, metadata)


def _open_folder(name: str) -> Source:
    import fsspec
    from huggingface_hub.repocard import metadata_load

    fs, root = fsspec.core.url_to_fs(os.path.expanduser(name))
    with explained(name):
        files = fs.find(root, detail=True)
        if not files:
            raise ValueError("no such folder, or it is empty; give a Hub id (owner/name) or a folder")
    dates = ("mtime", "ETag", "etag", "LastModified", "updated")
    known = [
        (path, info["size"], *(str(info[date]) for date in dates if date in info)) for path, info in files.items()
    ]
    card = os.path.join(root, "README.md")
    metadata = (metadata_load(card) or {}) if os.path.isfile(card) else {}
    revision = hashlib.sha256(repr(known).encode()).hexdigest()
    return Source(name, revision, False, folder=name if "://" in name else root, metadata=metadata)


def _find_parts(source: Source, configs: list[str] | None, splits: list[str] | None, shard_rows: int) -> None:
    from datasets import get_dataset_config_names, load_dataset_builder

    if "://" in source.name:  # `datasets` takes such a place only as the files themselves
        _chosen("config", configs, ["default"])
        files_of = {"default": (_files_below(source.name), None, False)}
    else:
        options = {"revision": source.revision} if source.on_hub else {}
        files_of = {}
        for config in _chosen("config", configs, get_dataset_config_names(source.name, **options)):
            builder = load_dataset_builder(source.name, config, **options)
            is_audio = type(builder).__name__.startswith("Audiofolder")
            files_of[config] = builder.config.data_files or {}, builder.info.features, is_audio
    for config, (files, features, is_audio) in files_of.items():
        for split in _chosen("split", splits, list(map(str, files))):
            names = list(map(str, files[split]))
            if is_audio:
                found = _folder_parts(source, config, split, shard_rows)
            elif all(file.endswith(".parquet") for file in names):
                found = _parquet_parts(names, features, shard_rows)
            else:
                advice = "give --revision refs/convert/parquet, or " if source.on_hub else ""
                raise ValueError(f"is neither parquet nor audio; {advice}convert it (load_dataset, then push_to_hub)")
            source.splits.append(SplitParts(config, split, *found))


def _files_below(place: str) -> dict:
    """The files of each split, by the names that `datasets` knows."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    return DataFilesDict.from_patterns(get_data_patterns(place), base_path=place)


def _chosen(option: str, wanted: list[str] | None, known: list[str]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise ValueError(f"has no {option} {name!r}; it has {', '.join(known)}")
    return list(dict.fromkeys(wanted or known))


def _parquet_parts(files: list[str], features, shard_rows: int) -> tuple[Any, tuple[Part, ...]]:
    import pyarrow.parquet as pq
    from datasets import Features

    def footer(url: str):
        with _open(url) as stream:
            metadata = pq.read_metadata(stream)
            return metadata.schema.to_arrow_schema() if url == files[0] else None, [
                metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
            ]

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        footers = list(pool.map(footer, files))
    parts = []
    for url, (_, sizes) in zip(files, footers):
        groups, rows = [], 0
        for number, size in enumerate(sizes):
            if groups and rows + size > shard_rows:
                parts.append(Part(rows, url, tuple(groups)))
                groups, rows = [], 0
            groups.append(number)
            rows += size
        if rows:
            parts.append(Part(rows, url, tuple(groups)))
    parts = parts or [Part(0, files[0])]  # an empty split stays one
    return features or Features.from_arrow_schema(footers[0][0]), tuple(parts)


def _folder_parts(source: Source, config: str, split: str, shard_rows: int) -> tuple[Any, tuple[Part, ...]]:
    import pyarrow as pa
    from datasets import Audio, Features

    spec = DatasetSpec(source.name, config, revision=source.revision if source.on_hub else None)
    rows = read_audio_folder(spec, split, download=False)
    features = Features.from_arrow_schema(pa.Table.from_pylist(rows).schema)
    for name, value in rows[0].items():
        if isinstance(value, Mapping) and set(value) == {"bytes", "path"}:
            features[name] = Audio()
    shares = [rows[start : start + shard_rows] for start in range(0, len(rows), shard_rows)]
    return features, tuple(Part(len(share), listed=tuple(share)) for share in shares)


def _open(url: str) -> Any:
    import fsspec

    return fsspec.open(url, "rb")


@contextmanager
def explained(name: str, revision: str | None = None):
    """Turns an error into one line about this dataset, with the next step."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(f"dataset {name}: is gated; ask for access on its page, then run `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"dataset {name}: has no revision {revision!r}; see the branches on its page") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ValueError(
            f"dataset {name}: neither a folder here nor a dataset on the Hub; check the name "
            "(if it is private, run `hf auth login`)"
        ) from error
    except Exception as error:
        lost = (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, ConnectionError, TimeoutError)
        if isinstance(error, lost) or type(error).__module__.startswith("httpx"):  # the client of huggingface_hub
            reason = one_line(error, most=100)
            message = f"dataset {name}: cannot be reached ({reason}); check the network, and run this again"
            raise ValueError(message) from error
        if isinstance(error, (ValueError, OSError, ImportError)):
            raise ValueError(f"dataset {name}: {one_line(error)}") from error
        raise
