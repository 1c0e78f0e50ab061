"""The local Hub is one to the real clients: otherwise the tests that use it would prove nothing."""

import hashlib
import subprocess
import sys

import pytest

from .local import LocalHub


WEIGHTS = bytes(range(256)) * 4000  # 1 MB


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A Hub with a public, a private and a gated repository of the same content."""
    with LocalHub(tmp_path_factory.mktemp("hub")) as hub:
        for name in ("public", "private", "gated"):
            files = {"config.json": "{}", "weights.bin": WEIGHTS, "sub/folder/a.txt": "a"}
            hub.create_repo(f"org/{name}", files=files, private=name == "private", gated=name == "gated")
        yield hub


def test_files_in_and_out(hub):
    printed = hub.run(
        """
        import huggingface_hub as h
        api = h.HfApi()
        print(api.whoami()["name"])
        url = api.create_repo("org/model", private=True)
        print(url.repo_id, api.create_repo("org/model", exist_ok=True) == url)
        weights = bytes(range(256)) * 4000
        operations = [h.CommitOperationAdd("weights.bin", weights), h.CommitOperationAdd("a/b.txt", b"text")]
        first = api.create_commit("org/model", operations, commit_message="two files")
        again = [h.CommitOperationAdd("weights.bin", weights), h.CommitOperationAdd("a/b.txt", b"text")]
        print(api.create_commit("org/model", again, commit_message="nothing new").oid == first.oid)
        api.create_tag("org/model", tag="v1")
        last = api.create_commit("org/model", [h.CommitOperationDelete("a/")], commit_message="one less")
        print(api.list_repo_files("org/model"), api.list_repo_files("org/model", revision="v1"))
        info = api.model_info("org/model", files_metadata=True)
        print(info.sha == last.oid, info.private, info.siblings[-1].lfs.size)
        print([commit.title for commit in api.list_repo_commits("org/model")])
        for revision in ("main", "v1", first.oid):
            with open(h.hf_hub_download("org/model", "weights.bin", revision=revision), "rb") as file:
                print(file.read() == weights)
        folder = h.snapshot_download("org/model", revision="v1")
        print(open(folder + "/a/b.txt").read())
        api.create_branch("org/model", branch="next")
        api.upload_file(path_or_fileobj=b"new", path_in_repo="new.txt", repo_id="org/model", revision="next")
        print(sorted(branch.name for branch in api.list_repo_refs("org/model").branches))
        """
    )
    assert printed.splitlines() == [
        "alice",
        "org/model True",
        "True",
        "['.gitattributes', 'weights.bin'] ['.gitattributes', 'a/b.txt', 'weights.bin']",
        f"True True {len(WEIGHTS)}",
        "['one less', 'two files', 'initial commit']",
        *["True"] * 3,
        "text",
        "['main', 'next']",
    ]
    assert hub.files("org/model") == {"weights.bin": WEIGHTS}
    assert hub.files("org/model", revision="next") == {"weights.bin": WEIGHTS, "new.txt": b"new"}
    assert [commit.title for commit in hub.commits("org/model")] == ["one less", "two files", "initial commit"]
    assert hub.is_private("org/model")


REFUSALS = """
import sys
import huggingface_hub as h
from huggingface_hub.errors import HfHubHTTPError
api = h.HfApi()
for call in sys.argv[1:]:
    try:
        eval(call)
        print("fine")
    except HfHubHTTPError as error:
        print(type(error).__name__, error.response.status_code)
"""


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, ["RepositoryNotFoundError 401"] * 2 + ["GatedRepoError 401", "HfHubHTTPError 401"]),
        ("hf_guest", ["RepositoryNotFoundError 404"] * 2 + ["GatedRepoError 403", "HfHubHTTPError 403"]),
        ("hf_alice", ["RepositoryNotFoundError 404", "fine", "fine", "fine"]),
    ],
)
def test_refusals(filled, token, expected):
    printed = filled.run(
        REFUSALS,
        "h.hf_hub_download('org/nothing', 'config.json')",
        "h.hf_hub_download('org/private', 'config.json')",
        "h.hf_hub_download('org/gated', 'weights.bin')",
        "api.upload_file(path_or_fileobj=b'a', path_in_repo='a.txt', repo_id='org/public')",
        "h.hf_hub_download('org/public', 'missing.json')",
        "h.hf_hub_download('org/public', 'config.json', revision='missing')",
        "api.model_info('org/gated')",
        "api.create_repo('strangers/model')",
        "api.create_repo('org/public')",
        "h.hf_hub_download('org/public', 'config.json', token='hf_wrong')",
        token=token,
        home=f"home-{token}",
    )
    creation = {None: "HfHubHTTPError 401", "hf_guest": "HfHubHTTPError 403"}
    assert printed.splitlines() == [
        *expected,
        "RemoteEntryNotFoundError 404",
        "RevisionNotFoundError 404",
        "fine",
        creation.get(token, "HfHubHTTPError 403"),
        creation.get(token, "HfHubHTTPError 409"),
        "HfHubHTTPError 401",
    ]


def test_a_commit_on_an_old_parent_is_refused(filled):
    old = filled.commits("org/public")[-1].id
    operation = "h.CommitOperationAdd('b.txt', b'b')"
    call = f"api.create_commit('org/public', [{operation}], commit_message='b', parent_commit={old!r})"
    assert filled.run(REFUSALS, call).strip() == "HfHubHTTPError 412"


def test_ranges(filled):
    printed = filled.run(
        """
        import hashlib
        from huggingface_hub import HfFileSystem
        with HfFileSystem(block_size=1000).open("org/public/weights.bin") as file:
            file.seek(500_000)
            print(hashlib.sha256(file.read(3000)).hexdigest())
        """
    )
    assert printed.strip() == hashlib.sha256(WEIGHTS[500_000:503_000]).hexdigest()


def test_faults(hub):
    hub.create_repo("org/model", files={"weights.bin": WEIGHTS})
    unavailable = hub.fail("GET /api/models/org/model", 503, after=1)
    download = hub.fail("GET /cdn/", break_after=100_000)
    upload = hub.fail("PUT /lfs-upload", break_after=100_000)
    commit = hub.fail("POST .*/commit/", 500)
    slow = hub.fail("GET /api/whoami", status=None, delay=0.3)
    printed = hub.run(
        """
        import time
        started = time.perf_counter()
        time.sleep = lambda seconds: None
        import huggingface_hub as h
        from huggingface_hub.errors import HfHubHTTPError
        api = h.HfApi()
        api.model_info("org/model")
        try:
            api.model_info("org/model")
        except HfHubHTTPError as error:
            print(error.response.status_code)
        with open(h.hf_hub_download("org/model", "weights.bin"), "rb") as file:
            print(file.read() == bytes(range(256)) * 4000)
        try:
            api.upload_file(path_or_fileobj=bytes(500_000), path_in_repo="zeros.bin", repo_id="org/model")
        except HfHubHTTPError as error:
            print(error.response.status_code)
        api.whoami()
        print(time.perf_counter() - started > 0.3)
        """
    )
    assert printed.split() == ["503", "True", "500", "True"]
    for fault in (unavailable, download, upload, commit, slow):
        assert len(fault.requests) == 1, fault
    broken = [(method, path) for method, path, status in hub.requests if status is None]
    assert [method for method, _ in broken] == ["GET", "PUT"]
    assert [commit.title for commit in hub.commits("org/model")] == ["files", "initial commit"]


@pytest.mark.parametrize(
    ("repo_type", "metadata", "wrong"),
    [
        ("model", "license: apache-2.0\ntags: [audio]", None),
        ("model", "tags: [1]", '"tags" must be a list of strings'),
        ("model", "license: [", "YAML is invalid"),
        ("model", "model-index: [{name: a, results: [{task: {type: x}, metrics: []}]}]", "a dataset type"),
        ("space", "title: Demo", '"sdk" must be one of'),
        ("space", "sdk: gradio", None),
    ],
)
def test_metadata_is_checked(repo_type, metadata, wrong):
    from .store import check_metadata

    errors, _ = check_metadata(f"---\n{metadata}\n---\n# Card\n", repo_type)
    assert (errors == []) if wrong is None else (wrong in errors[0])


def test_datasets_go_both_ways(hub):
    printed = hub.run(
        """
        import io
        import numpy as np, soundfile
        from datasets import Audio, Dataset, Features, Value, load_dataset
        clips = []
        for k in range(3):
            file = io.BytesIO()
            soundfile.write(file, np.full(100 + k, 0.25), 16000, format="WAV")
            clips.append({"bytes": file.getvalue(), "path": f"{k}.wav"})
        features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
        made = Dataset.from_dict({"audio": clips}, features=features).cast_column("audio", Audio(decode=False))
        made.push_to_hub("org/clips", private=True)
        for streaming in (False, True):
            loaded = load_dataset("org/clips", split="train", streaming=streaming)
            for clip in loaded.cast_column("audio", Audio(decode=False)):
                print(len(soundfile.read(io.BytesIO(clip["audio"]["bytes"]))[0]))
        """
    )
    assert printed.split() == ["100", "101", "102"] * 2
    assert hub.is_private("org/clips", "dataset")


def test_an_own_process_needs_nothing_but_the_environment(filled):
    command = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", "org/private", "config.json"]
    done = subprocess.run(command, capture_output=True, text=True, env=filled.environment(home="cli"))
    assert done.returncode == 0, done.stderr
    offline = filled.environment(home="cli", offline=True)
    assert subprocess.run(command, capture_output=True, env=offline).returncode == 0
