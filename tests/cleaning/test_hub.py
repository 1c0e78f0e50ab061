"""A dataset of the local Hub is cleaned by one command that is killed twice, and hostile cases."""

import fnmatch
import io
import json

import pyarrow.parquet as pq
import pytest
import yaml

from dse_hf.audio import AudioReader

from ..hub.local import LocalHub
from .datasets import BROKEN, FEATURES, FILES, parquet, row, tiny_model


CARD = "---\nlicense: cc-by-4.0\nlanguage:\n- en\n---\n# Noisy\n"
# Runs a command again and again, and kills its process at its row 130, then at its row 150. Prints the exit statuses,
# and what the target holds then. Runs other commands, and prints their exit statuses and errors.
STORY = """
import contextlib, io, json, os, signal, sys, datasets
from dse_hf.cleaning import clean_repository, rows
from dse_hf.cli import main
command, others = map(json.loads, sys.argv[1:])
clean = rows.RowCleaner._clean

def run(command):
    texts = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(texts[0]), contextlib.redirect_stderr(texts[1]):
        status = main(command)
    print(json.dumps([status, *(text.getvalue() for text in texts)]), flush=True)

for count in (130, 150):
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    def killed(self, item, model):
        global count
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return clean(self, item, model)
    rows.RowCleaner._clean = killed
    run(command)
run(command)
print(json.dumps({split: [rows.num_rows, str(rows.features["audio"]), rows.with_format("arrow")["id"].to_pylist()]
                  for split, rows in datasets.load_dataset("org/clean").items()}))
for token, command in others:
    os.environ["HF_TOKEN"] = token
    run(command)
"""
HOSTILE = {  # whose token, and the arguments → what the error says
    ("alice", "org/noisy org/new --column adio"): "has no column 'adio' (did you mean audio?)",
    ("alice", "org/noisy org/taken"): "org/taken: holds other files, such as data/train.parquet; give another target",
    ("alice", "org/noisy org/clean --scores"): "org/clean: holds the result of another source, model or options",
    ("alice", "org/noisy org/new --revision v9"): "org/noisy: has no revision 'v9'; see the branches",
    ("alice", "org/noisy org/new --split dev"): "org/noisy: has no split 'dev'; it has train, test",
    ("alice", "org/nosy org/new"): "org/nosy: neither a folder here nor a dataset on the Hub; check the name",
    ("alice", "org/noisy org/noisy"): "org/noisy: is the source itself; give another target",
    ("guest", "org/gated org/new"): "org/gated: is gated; ask for access on its page",
    ("guest", "org/noisy org/new"): "org/new: the push failed (the Hub answered 403); nothing was sent",
    ("guest", "org/noisy org/taken"): "your token may not write there",
    ("", "org/noisy org/new"): "log in: `hf auth login`, or set HF_TOKEN",
}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The Hub after all that, and the lines that were printed."""
    folder = tmp_path_factory.mktemp("story")
    rest = ["--model", tiny_model(folder / "model"), "--processes", "1"]
    with LocalHub(folder / "hub") as hub:
        files = {path: parquet(numbers) for path, numbers in FILES.items()}
        hub.create_repo("org/noisy", "dataset", {**files, "README.md": CARD})
        hub.create_repo("org/gated", "dataset", files, gated=True)
        hub.create_repo("org/taken", "dataset", {"data/train.parquet": b"other"})
        tokens = {"alice": hub.token, "guest": hub.guest_token, "": ""}
        others = [(hub.token, ["clean", "org/gated", "org/closed", "--split", "test", *rest])]
        others += [(tokens[name], ["clean", *words.split(), *rest]) for name, words in HOSTILE]
        printed = hub.run(STORY, json.dumps(["clean", "org/noisy", "org/clean", *rest]), json.dumps(others))
        yield hub, [json.loads(line) for line in printed.splitlines()]


def read(content: bytes):
    with AudioReader(content) as reader:
        return reader.sampling_rate, reader.channels, sum(map(len, reader)), reader.subtype


def test_a_command_that_was_killed_twice_goes_on(story):
    hub, (first, second, (status, output, errors), loaded, *_) = story
    assert (first, second, status) == (-9, -9, 0)
    assert "300 rows in 3 shards, 2 of them done earlier" in output
    assert "5 rows could not be cleaned (2 empty, 1 impossible sampling rate, 2 unreadable)" in errors
    audio = str(FEATURES["audio"])
    assert loaded == {"train": [240, audio, list(range(240))], "test": [60, audio, list(range(240, 300))]}
    assert not list(hub.root.rglob("dse-hf-clean/*/*"))


def test_rows_and_their_order_and_the_other_columns_stay(story):
    hub, _ = story
    result = hub.files("org/clean", "dataset")
    shards = sorted((path for path in result if path.endswith(".parquet")), key=lambda path: ("test" in path, path))
    cleaned = [item for path in shards for item in pq.read_table(io.BytesIO(result[path])).to_pylist()]
    assert len(shards) == 3 and len(cleaned) == 300
    for number, item in enumerate(cleaned):
        original = row(number)
        audio, before = item.pop("audio"), original.pop("audio")
        error = item.pop("clean_error")
        assert item == original
        if number in BROKEN:
            assert audio is None and error.startswith(BROKEN[number][1])
        else:
            assert error is None and audio["path"] == before["path"] and audio["bytes"] != before["bytes"]
            assert read(audio["bytes"]) == read(before["bytes"])


def test_each_commit_is_a_dataset_and_the_last_one_has_the_card(story):
    hub, _ = story
    commits = hub.commits("org/clean", "dataset")
    cards = [
        (hub.store.blobs / commit.files["README.md"].key).read_text()
        for commit in commits[:-1]  # without that which made the repository
    ]
    assert len(cards) >= 2 and commits[0].title == "Clean with dse-hf"
    for commit, card in zip(commits, cards):
        (config,) = yaml.safe_load(card.split("---")[1])["configs"]
        assert all(fnmatch.filter(commit.files, split["path"]) for split in config["data_files"])
        assert ("Not complete yet" in card) == (commit is not commits[0])
    metadata = yaml.safe_load(cards[0].split("---")[1])
    assert (metadata["license"], metadata["source_datasets"]) == ("cc-by-4.0", ["org/noisy"])
    assert hub.commits("org/noisy", "dataset")[0].id in cards[0] and "dse-hf clean org/noisy org/clean" in cards[0]
    assert str(hub.root.parent) not in cards[0]


def test_what_is_made_of_a_gated_dataset_is_private(story):
    hub, lines = story
    assert lines[4][0] == 0 and hub.is_private("org/closed", "dataset") and not hub.is_private("org/clean", "dataset")


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=lambda number: " as ".join(list(HOSTILE)[number][::-1]))
def test_errors_are_one_line_and_come_before_the_work(story, number):
    hub, lines = story
    status, _, error = lines[5 + number]
    assert status == 1 and list(HOSTILE.values())[number] in error and error.count("\n") == 1
    assert not hub.exists("org/new", "dataset")
