"""A dataset of the local Hub is cleaned by one command that is killed twice, and hostile cases."""

import fnmatch
import io
import json

import pyarrow.parquet as pq
import yaml

from dse_hf.audio import AudioReader

from ..fresh import run_fresh
from .datasets import BROKEN, FEATURES, parquet, row, tiny_model


FILES = {
    "data/train-00000-of-00002.parquet": range(120),
    "data/train-00001-of-00002.parquet": range(120, 240),
    "data/test-00000-of-00001.parquet": range(240, 300),
}
CARD = "---\nlicense: cc-by-4.0\nlanguage:\n- en\n---\n# Noisy\n"
# Runs the command again and again, and kills its process before it cleans batch 11, then 14. Prints what was made.
SCENARIO = """
import json, os, signal, sys, datasets
from dse_hf.cleaning import clean_repository, rows
from dse_hf.cli import main
clean = rows.RowCleaner.__call__
for batches in (11, 14):
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    def killed(self, items):
        global batches
        batches -= 1
        if batches == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return clean(self, items)
    rows.RowCleaner.__call__ = killed
    main(sys.argv[1:])
print(main(sys.argv[1:]))
print(json.dumps({split: [rows.num_rows, str(rows.features["audio"]), rows.with_format("arrow")["id"].to_pylist()]
                  for split, rows in datasets.load_dataset("org/clean").items()}))
"""


def read(content: bytes):
    with AudioReader(content) as reader:
        return reader.sampling_rate, reader.channels, sum(map(len, reader)), reader.subtype


def test_a_dataset_is_cleaned_by_a_command_that_is_killed_twice(hub, tmp_path):
    files = {path: parquet(numbers) for path, numbers in FILES.items()}
    hub.create_repo("org/noisy", "dataset", {**files, "README.md": CARD})
    commit = hub.commits("org/noisy", "dataset")[0].id
    command = ["clean", "org/noisy", "org/clean", "--model", tiny_model(tmp_path / "model"), "--processes", "1"]
    done = run_fresh(SCENARIO, *command, env=hub.environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    *lines, loaded = done.stdout.splitlines()
    assert [line for line in lines if len(line) < 4] == ["-9", "-9", "0"]
    assert [line for line in lines if "3 shards, 2 of them done earlier" in line]
    assert "5 rows could not be cleaned (2 empty, 1 impossible sampling rate, 2 unreadable)" in done.stderr
    audio = str(FEATURES["audio"])
    assert json.loads(loaded) == {"train": [240, audio, list(range(240))], "test": [60, audio, list(range(240, 300))]}
    result = hub.files("org/clean", "dataset")
    shards = sorted((path for path in result if path.endswith(".parquet")), key=lambda path: ("test" in path, path))
    assert len(shards) == 3 and not list(tmp_path.rglob("dse-hf-clean/*/*"))
    cleaned = [item for path in shards for item in pq.read_table(io.BytesIO(result[path])).to_pylist()]
    for number, item in enumerate(cleaned):
        original = row(number)
        assert {name: item[name] for name in original if name != "audio"} == {
            name: value for name, value in original.items() if name != "audio"
        }
        if number in BROKEN:
            assert item["audio"] is None and item["clean_error"].startswith(BROKEN[number][1])
        else:
            assert item["clean_error"] is None and item["audio"]["path"] == original["audio"]["path"]
            assert item["audio"]["bytes"] != original["audio"]["bytes"]
            assert read(item["audio"]["bytes"]) == read(original["audio"]["bytes"])
    card = result["README.md"].decode()
    metadata = yaml.safe_load(card.split("---")[1])
    assert (metadata["license"], metadata["source_datasets"]) == ("cc-by-4.0", ["org/noisy"])
    assert commit in card and "dse-hf clean org/noisy org/clean" in card and str(tmp_path) not in card
    commits = hub.commits("org/clean", "dataset")
    assert [commit.title for commit in commits][0] == "Clean with dse-hf" and len(commits) >= 3
    for commit in commits[:-1]:  # each can be read: it has files of every split that its card names
        card = (hub.store.blobs / commit.files["README.md"].key).read_text()
        (config,) = yaml.safe_load(card.split("---")[1])["configs"]
        assert all(fnmatch.filter(commit.files, split["path"]) for split in config["data_files"])


HOSTILE = """
import contextlib, io, json, os, sys
from dse_hf.cli import main
for token, command in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = main(command)
    print(json.dumps([status, errors.getvalue()]))
"""


def test_errors_are_one_line_and_come_before_the_work(hub, tmp_path):
    files = {"data/train-00000-of-00001.parquet": parquet(range(2))}
    for name in ("noisy", "gated"):
        hub.create_repo(f"org/{name}", "dataset", files, gated=name == "gated")
    hub.create_repo("org/taken", "dataset", {"data/train.parquet": b"other"})
    cases = [  # the token, the arguments, and what the error says
        (hub.token, "org/noisy org/new --column adio", "has no column 'adio' (did you mean audio?)"),
        (hub.token, "org/noisy org/taken", "org/taken: holds other files, such as data/train.parquet; give another"),
        (hub.token, "org/noisy org/new --revision v9", "org/noisy: has no revision 'v9'; see the branches"),
        (hub.token, "org/noisy org/new --split dev", "org/noisy: has no split 'dev'; it has train"),
        (hub.token, "org/nosy org/new", "org/nosy: neither a folder here nor a dataset on the Hub; check the name"),
        (hub.token, "org/noisy org/noisy", "org/noisy: is the source itself; give another target"),
        (hub.guest_token, "org/gated org/new", "org/gated: is gated; ask for access on its page"),
        (hub.guest_token, "org/noisy org/new", "org/new: the push failed (the Hub answered 403); nothing was sent"),
        (hub.guest_token, "org/noisy org/taken", "your token may not write there"),
        ("", "org/noisy org/new", "log in: `hf auth login`, or set HF_TOKEN"),
    ]
    rest = ["--model", tiny_model(tmp_path / "model"), "--processes", "1"]
    commands = [(token, ["clean", *arguments.split(), *rest]) for token, arguments, _ in cases]
    for case, line in zip(cases, hub.run(HOSTILE, json.dumps(commands)).splitlines()):
        status, error = json.loads(line)
        assert status == 1 and case[2] in error and error.count("\n") == 1, (case, error)
    assert not hub.exists("org/new", "dataset")
