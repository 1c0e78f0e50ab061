"""Folders: the options, several processes, and what is there before."""

import contextlib
import itertools
import os
import signal
import sys

import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import load_dataset

from dse_hf.cleaning import CleaningOptions, clean_repository, local
from dse_hf.cleaning.rows import RowCleaner
from dse_hf.cleaning.storage import Storage
from dse_hf.cli import main

from ..audio.sounds import tones
from .datasets import FEATURES, parquet, row, tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def source(tmp_path) -> str:
    for name, numbers in {"train": range(60), "test": range(100, 104)}.items():
        path = tmp_path / "noisy" / "data" / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(parquet(numbers))
    return str(tmp_path / "noisy")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def clean(source, target, model, **options):
    return clean_repository(source, target, model, processes=options.pop("processes", 1), **options)


def test_columns_that_are_asked_for(source, tmp_path, model, monkeypatch):
    def score(self, row, *arguments):
        row.before, row.after = 1.5, 1.0 + next(numbers) % 4

    numbers = itertools.count()
    monkeypatch.setattr(RowCleaner, "_score", score)
    options = CleaningOptions(keep_original=True, background_column="noise", min_dnsmos=2)
    result = clean(source, tmp_path / "clean", model, options=options, split=["train"])
    dataset = load_dataset(str(tmp_path / "clean"), cache_dir=str(tmp_path / "cache"))["train"]
    added = ["audio_clean", "noise", "level_change_db", "dnsmos_before", "dnsmos_after", "clean_error"]
    assert dataset.column_names == [*FEATURES, *added]
    assert dataset.features["audio_clean"] == dataset.features["noise"] == FEATURES["audio"]
    table = dataset.with_format("arrow")[:]
    kept = table["id"].to_pylist()
    assert result.report.written == len(kept) == 60 - len(result.report.dropped)
    lines = (tmp_path / "clean" / "dropped.csv").read_text().splitlines()
    assert lines[0] == "config,split,row,dnsmos_after" and lines[1].startswith("default,train,0,")
    assert sorted([*kept, *(int(line.split(",")[2]) for line in lines[1:])]) == list(range(60))
    assert table["audio"][0].as_py() == row(kept[0])["audio"]  # it stays
    card = (tmp_path / "clean" / "README.md").read_text()
    assert "| 2.00 to 2.25 | 0 |" in card and "| mean | 1.50 |" in card


def test_two_processes_give_the_same_files_though_one_is_killed(source, tmp_path, model, monkeypatch):
    clean(source, tmp_path / "one", model, shard_rows=25)
    workers, killed = [], []

    class Watched(local._Worker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            workers.append(self)

    def progress(state):
        if not killed:
            killed.append(workers[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(local, "_Worker", Watched)
    clean(source, tmp_path / "two", model, shard_rows=25, processes=2, progress=progress)
    assert killed and len(workers) == 3 and contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "two")) == 3
    assert not list(tmp_path.rglob("*.part"))


def test_an_audio_folder_becomes_parquet_with_the_audio_inside(tmp_path, model):
    folder = tmp_path / "noisy" / "train"
    folder.mkdir(parents=True)
    for name in "ab":
        soundfile.write(folder / f"{name}.wav", tones(16000, 0.2, 1), 16000)
    (folder / "metadata.csv").write_text("file_name,text\na.wav,first\nb.wav,second\n")
    result = clean(tmp_path / "noisy", tmp_path / "clean", model)
    (path,) = (tmp_path / "clean").rglob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [(row["audio"]["path"], row["text"], row["clean_error"]) for row in rows] == [
        ("a.wav", "first", None),
        ("b.wav", "second", None),
    ]
    assert result.report.seconds == pytest.approx(0.4) and rows[0]["audio"]["bytes"][:4] == b"RIFF"


def test_configurations_stay(tmp_path, model):
    for config, numbers in {"first": range(4, 6), "second": range(6, 9)}.items():
        path = tmp_path / "noisy" / config / "train-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(parquet(numbers))
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in ("first", "second"))
    (tmp_path / "noisy" / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{configs}---\n")
    clean(tmp_path / "noisy", tmp_path / "clean", model)
    for config, numbers in {"first": [4, 5], "second": [6, 7, 8]}.items():
        dataset = load_dataset(str(tmp_path / "clean"), config, cache_dir=str(tmp_path / "cache"))
        assert dataset["train"].with_format("arrow")["id"].to_pylist() == numbers
    assert "license: mit" in (tmp_path / "clean" / "README.md").read_text()


def test_places_that_fsspec_knows(source, tmp_path, model):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(source, "memory://bucket/noisy", recursive=True)
    clean(source, tmp_path / "clean", model, split=["test"])
    result = clean("memory://bucket/noisy", "memory://bucket/clean", model, split=["test"])
    (path,) = memory.glob("memory://bucket/clean/data/*.parquet")
    tables = [pq.read_table(memory.open(path)), pq.read_table(next((tmp_path / "clean" / "data").iterdir()))]
    assert tables[0].equals(tables[1]) and result.report.rows == 4
    again = clean("memory://bucket/noisy", "memory://bucket/clean", model, split=["test"])
    assert again.resumed == 1 and memory.exists("memory://bucket/clean/README.md")


def test_what_a_target_holds_is_replaced_only_if_that_is_wanted(source, tmp_path, model):
    target = tmp_path / "clean"
    clean(source, target, model, split=["test"])
    (first,) = contents(target)
    again = clean(source, target, model, split=["test"])
    assert (again.resumed, again.done_rows) == (1, 0)
    other = CleaningOptions(background_db=-20)
    with pytest.raises(ValueError, match="the result of another source, model or options; give another target"):
        clean(source, target, model, split=["test"], options=other)
    (target / "notes.txt").write_text("mine")
    (target / "data" / f".{first}.0123abcd.part").write_text("unfinished")
    clean(source, target, model, split=["test"], options=other, overwrite=True)
    assert list(contents(target)) != [first] and len(contents(target)) == 1
    assert (target / "notes.txt").exists() and not list(target.rglob(".*.part"))


def test_a_target_inside_the_source_or_a_file(source, tmp_path, model):
    with pytest.raises(ValueError, match="is a part of the source; give a target outside"):
        clean(source, f"{source}/clean", model)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file: is a file; give a folder"):
        clean(source, tmp_path / "file", model)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_full_disk_is_one_line(source, tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr(Storage, "writing", lambda self, name: contextlib.nullcontext("/dev/full"))
    assert main(["clean", source, str(tmp_path / "clean"), "--model", model, "--processes", "1"]) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error and error.count("\n") == 1


def test_strict_stops_at_the_first_bad_row_and_leaves_nothing(source, tmp_path, model, capsys):
    command = ["clean", source, str(tmp_path / "clean"), "--model", model, "--processes", "1", "--strict"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "split train, row 3: empty: is null; repair or remove it" in error and error.count("\n") == 1
    assert not [path for path in (tmp_path / "clean").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--background-db", "3"], "--background-db=3: must be 0 or less"),
        (["--min-dnsmos", "7"], "--min-dnsmos=7: DNSMOS goes from 1 to 5"),
        (["--address", "auto"], "--address and --num-actors go with --engine ray"),
    ],
)
def test_options_that_are_wrong(arguments, error, capsys):
    with pytest.raises(SystemExit):
        main(["clean", "a", "b", "--processes", "1", *arguments])
    assert error in capsys.readouterr().err


def test_a_column_whose_name_is_needed(source, tmp_path, model):
    with pytest.raises(ValueError, match="has a column 'text' already, which the result needs"):
        clean(source, tmp_path / "clean", model, options=CleaningOptions(background_column="text"))
    with pytest.raises(ValueError, match="column 'text' holds no audio; the columns with audio are audio, other"):
        clean(source, tmp_path / "clean", model, options=CleaningOptions(column="text"))
