"""`dse-hf publish`: what is checked before, what is sent, and how a failure leaves things."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dse_hf import DAEConfig, DAEModel, WaveformFeatureExtractor, WaveUNetConfig, WaveUNetModel
from dse_hf.cli import main
from dse_hf.hub import publishing
from dse_hf.hub.checks import check_reload
from dse_hf.hub.publishing import publish_model, publish_space
from dse_hf.loading import find_model

from .local import LocalHub


MODEL_FILES = {
    *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
    *("configuration_separation.py", "configuration_waveunet.py", "feature_extraction_waveform.py"),
    *(
        "modeling_separation.py",
        "modeling_separation_stream.py",
        "modeling_filter_bank.py",
        "pipeline_audio_to_audio.py",
    ),
    *("modeling_waveunet.py", "modeling_waveunet_batch.py", "modeling_waveunet_blocks.py"),
    *("modeling_waveunet_frames.py", "modeling_waveunet_stream.py"),
    *("audio_decoding.py", "audio_ffmpeg.py", "audio_files.py", "audio_formats.py", "audio_libsndfile.py"),
    *("configuration_waveunet_architecture.py", "modeling_level.py", "modeling_waveunet_network.py"),
    *("audio_channels.py", "audio_ogg.py", "audio_reader.py"),
}


def make_model(folder: Path) -> Path:
    torch.manual_seed(0)
    WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same")).save_pretrained(folder)
    WaveformFeatureExtractor().save_pretrained(folder)
    return folder


def make_space(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text("---\ntitle: Demo\nsdk: gradio\napp_file: app.py\n---\n# Demo\n")
    (folder / "app.py").write_text("import gradio\n")
    (folder / "requirements.txt").write_text("scipy\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "app.pyc").write_bytes(b"")
    return folder


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "tiny")


@pytest.fixture
def unchecked(monkeypatch):
    """Without the reload in another process, which other tests are about."""
    monkeypatch.setattr(publishing, "check_reload", lambda model, staged: None)


# ── Before anything is sent ──


def test_a_dry_run_shows_files_and_card(model, unchecked):
    shown = publish_model(model, "org/tiny", dry_run=True)
    assert set(shown.files) == MODEL_FILES
    assert shown.files["model.safetensors"] == (model / "model.safetensors").stat().st_size
    assert 'AutoModel.from_pretrained("org/tiny", trust_remote_code=True)' in shown.card
    assert (shown.commit, shown.changed) == (None, False)


def test_a_trained_folder_is_published_without_what_only_training_needs(model, unchecked):
    (model / "training_args.bin").write_bytes(b"pickle")
    (model / "checkpoint-5").mkdir()
    (model / "checkpoint-5" / "optimizer.pt").write_bytes(b"pickle")
    (model / "README.md").write_text("---\nlicense: mit\n---\n# My own card\n\n[dead](gone.md), [live](config.json)\n")
    shown = publish_model(model, "org/tiny", dry_run=True)
    assert set(shown.files) == MODEL_FILES
    assert "license: mit" in shown.card and "pipeline_tag: audio-to-audio" in shown.card
    assert shown.card.endswith("# My own card\n\ndead, [live](config.json)\n")


def test_the_saved_dtype_is_kept_and_the_extractor_made_if_missing(tmp_path, unchecked):
    config = DAEConfig(hidden_sizes=[8], latent_dim=4, n_fft=32, hop_length=16)
    DAEModel(config).to(torch.bfloat16).save_pretrained(tmp_path / "dae")
    shown = publish_model(tmp_path / "dae", "org/dae", dry_run=True)
    assert {"preprocessor_config.json", "modeling_dae.py", "feature_extraction_spectrogram.py"} <= set(shown.files)
    assert shown.files["model.safetensors"] == (tmp_path / "dae" / "model.safetensors").stat().st_size


def damage_weights(folder):
    model = WaveUNetModel.from_pretrained(folder)
    model.network.bottleneck[0].bias.data[0] = float("nan")
    model.save_pretrained(folder)


def leave_a_pickle(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def change(name, **fields):
    def change_file(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **fields}))

    return change_file


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (damage_weights, "network.bottleneck.0.bias holds NaN or infinity"),
        (leave_a_pickle, "has no model.safetensors, only pytorch_model.bin"),
        (change("config.json", num_layers=99), "num_layers=99: must be between 1 and 20"),
        (change("config.json", channel_growth=5), "its weights do not fit its config.json"),
        (change("preprocessor_config.json", sampling_rate=8000), "is for 8000 Hz and config.json for 16000 Hz"),
        (
            lambda folder: (folder / "README.md").write_text("---\ntags: [\n---\n"),
            "tiny/README.md: its metadata are not valid",
        ),
    ],
)
def test_a_folder_that_is_not_fit_is_refused_in_one_line(model, damage, wanted, unchecked):
    damage(model)
    with pytest.raises(ValueError, match=wanted) as error:
        publish_model(model, "org/tiny", dry_run=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folder", "repo_id", "wanted"),
    [
        ("waveunet-speech-16kHz", "org/x", "did you mean waveunet-speech-16khz"),
        ("org/elsewhere", "org/x", "org/elsewhere: no such folder"),
        ("waveunet-speech-16khz", "x", "'x': has no owner; give owner/name"),
        ("waveunet-speech-16khz", "org/x/y", "is no name on the Hub; give owner/name"),
    ],
)
def test_names_that_cannot_be(folder, repo_id, wanted):
    with pytest.raises(ValueError, match=wanted):
        publish_model(folder, repo_id, dry_run=True)


def test_what_does_not_reload_alike_is_not_published(model, tmp_path):
    staged = tmp_path / "staged"
    source = publishing.stage_model(find_model(model), staged, "org/tiny")
    other = WaveUNetModel.from_pretrained(model)
    other.network.bottleneck[0].bias.data += 0.1
    with pytest.raises(ValueError, match=r"reloaded, its .*ground differs by"):
        check_reload(other.eval(), staged)
    code = staged / "modeling_waveunet.py"
    code.write_text("import dse_hf\n" + code.read_text())
    with pytest.raises(ValueError, match=r"does not load without dse_hf \(.*dse_hf"):
        check_reload(source, staged)


def test_spaces_are_checked(tmp_path):
    space = make_space(tmp_path / "demo")
    shown = publish_space(space, "org/demo", dry_run=True)
    assert set(shown.files) == {"README.md", "app.py", "requirements.txt"}
    (space / "app.py").write_text("import (\n")
    with pytest.raises(ValueError, match=r"app.py: does not compile"):
        publish_space(space, "org/demo", dry_run=True)
    (space / "app.py").unlink()
    with pytest.raises(ValueError, match=r"has no app\.py"):
        publish_space(space, "org/demo", dry_run=True)
    (space / "README.md").write_text("# Demo\n")
    with pytest.raises(ValueError, match="sdk is None; write `sdk: gradio`"):
        publish_space(space, "org/demo", dry_run=True)
    with pytest.raises(ValueError, match=r"has no README.md"):
        publish_space(tmp_path, "org/demo", dry_run=True)


# ── Pushing: all of it in one process, as importing torch takes the time ──


# Publishes again and again, as the arguments say, and prints how each time went.
DRIVER = """
import json, os, sys
import dse_hf.hub.publishing as p
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
p.check_reload = lambda model, staged: None
folder, calls = sys.argv[1], json.loads(sys.argv[2])
token, endpoint = os.environ["HF_TOKEN"], constants.ENDPOINT
for repo, options in calls:
    if options.pop("changed", False):
        weights = load_file(folder + "/model.safetensors")
        weights["network.bottleneck.0.bias"] += 0.5
        save_file(weights, folder + "/model.safetensors", metadata={"format": "pt"})
    os.environ["HF_TOKEN"] = options.pop("token", token)
    constants.ENDPOINT = options.pop("endpoint", endpoint)
    constants.HF_HUB_OFFLINE = options.pop("offline", False)
    publish = p.publish_space if options.pop("space", False) else p.publish_model
    try:
        done = publish(options.pop("folder", folder), repo, **options)
        print(json.dumps([done.changed, done.commit, done.url]))
    except ValueError as error:
        print(json.dumps(str(error)))
"""
NO_HUB = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """The Hub, and how each call went."""
    folder = tmp_path_factory.mktemp("push")
    model, space = make_model(folder / "tiny"), str(make_space(folder / "demo"))
    calls = {
        "first": ("org/tiny", {"private": True}),
        "again": ("org/tiny", {"private": True}),
        "changed": ("org/tiny", {"changed": True}),
        "branch": ("org/tiny", {"revision": "next", "changed": True}),
        "shared": ("org/shared", {}),
        "demo": ("org/demo", {"space": True, "folder": space}),
        "demo again": ("org/demo", {"space": True, "folder": space}),
        "public": ("org/public", {"private": True}),
        "refused": ("org/refused", {"changed": True}),
        "refused again": ("org/refused", {}),
        "unavailable": ("org/unavailable", {"changed": True}),
        "broken": ("org/broken", {"changed": True}),
        "overtaken": ("org/overtaken", {}),
        "cut off": ("org/cut", {}),
        "stranger": ("strangers/tiny", {}),
        "anonymous": ("org/new", {"token": ""}),
        "offline": ("org/new", {"offline": True}),
        "alone": ("org/new", {"endpoint": NO_HUB}),
    }
    with LocalHub(folder / "hub") as hub:
        hub.create_repo("org/shared", files={"picture.png": b"kept", "old_code.py": "gone", "notes/a.py": "kept"})
        hub.create_repo("org/public")
        for name in ("unavailable", "broken", "overtaken"):
            hub.create_repo(f"org/{name}", files={"model.safetensors": "old"})
        hub.fail("POST /api/models/org/refused/commit", 500)
        hub.fail("POST /org/unavailable.git/info/lfs", 503, times=float("inf"))
        hub.fail("PUT /lfs-upload/org/broken/", break_after=1000)
        hub.fail("POST /api/models/org/overtaken/commit", 412)
        hub.fail("POST /api/models/org/cut/commit", break_after=1000)
        printed = hub.run(DRIVER, model, json.dumps(list(calls.values())), impatient=True)
        yield hub, dict(zip(calls, map(json.loads, printed.splitlines()), strict=True))


def test_one_commit_for_what_is_new_and_none_for_nothing_new(pushed):
    hub, went = pushed
    commits = hub.commits("org/tiny")
    assert [commit.title for commit in commits] == ["Update with dse-hf", "Publish with dse-hf", "initial commit"]
    assert went["first"] == [True, commits[1].id, f"{hub.url}/org/tiny/commit/{commits[1].id}"]
    assert went["again"][:2] == [False, commits[1].id]
    assert went["changed"][:2] == [True, commits[0].id]
    assert [path for path, file in commits[0].files.items() if commits[1].files[path] != file] == ["model.safetensors"]
    assert set(hub.files("org/tiny")) == MODEL_FILES
    assert hub.is_private("org/tiny")


def test_a_branch_is_made_and_pushed_to(pushed):
    hub, went = pushed
    ahead = hub.commits("org/tiny", revision="next")
    assert went["branch"][:2] == [True, ahead[0].id]
    assert ahead[1].id == hub.commits("org/tiny")[0].id


def test_what_others_put_there_stays_but_not_code_and_weights_that_are_gone(pushed):
    hub, went = pushed
    assert went["shared"][0] and len(hub.commits("org/shared")) == 3
    assert set(hub.files("org/shared")) == {*MODEL_FILES, "picture.png", "notes/a.py"}


def test_a_space(pushed):
    hub, went = pushed
    assert went["demo"][0] and not went["demo again"][0]
    assert set(hub.files("org/demo", "space")) == {"README.md", "app.py", "requirements.txt"}
    assert hub.store.repos["space", "org/demo"].sdk == "gradio"


def test_a_public_repository_is_not_taken_for_a_private_one(pushed):
    assert pushed[1]["public"].startswith("org/public: exists and is public; make it private on its settings page")


def test_a_failed_push_changes_nothing_and_says_how_to_go_on(pushed):
    hub, went = pushed
    for name, status in (("unavailable", 503), ("overtaken", 412)):
        (last, initial) = hub.commits(f"org/{name}")
        assert (last.title, initial.title) == ("files", "initial commit")
        assert went[name].startswith(
            f"org/{name}: the push failed (the Hub answered {status}); nothing changed there, its last commit is "
            f"{last.id[:7]}; "
        )
    cut = hub.commits("org/cut")[0]
    assert cut.title == "initial commit" and f"; its last commit was {cut.id[:7]}; run this again" in went["cut off"]
    assert went["unavailable"].endswith("run this again: what was uploaded is not uploaded twice")
    assert went["overtaken"].endswith(
        "someone else has pushed in the meantime: look at that commit, and run this again"
    )


def test_what_was_uploaded_is_not_uploaded_twice(pushed):
    hub, went = pushed
    assert "the push failed (the Hub answered 500)" in went["refused"] and went["refused again"][0]
    uploads = [path for method, path, _ in hub.requests if method == "PUT" and "/org/refused/" in path]
    assert len(uploads) == 1
    assert len(hub.commits("org/refused")) == 2


def test_an_upload_that_breaks_is_tried_again(pushed):
    hub, went = pushed
    statuses = [status for method, path, status in hub.requests if method == "PUT" and "/org/broken/" in path]
    assert statuses == [None, 200] and went["broken"][0]
    assert len(hub.files("org/broken")["model.safetensors"]) > 10_000


def test_who_may_not_push_is_told_what_to_do(pushed):
    hub, went = pushed
    assert went["stranger"].startswith("strangers/tiny: the push failed (the Hub answered 403); nothing was sent; ")
    assert "your token may not write there" in went["stranger"]
    assert went["anonymous"].endswith("log in: `hf auth login`, or set HF_TOKEN")
    assert went["offline"] == "org/new: HF_HUB_OFFLINE is set; unset it to publish"
    assert went["alone"].startswith("org/new: the push failed (") and went["alone"].endswith("not uploaded twice")
    assert not hub.exists("org/new")


# ── The command line ──


def test_command_line(hub, model):
    done = subprocess.run(
        [Path(sys.executable).with_name("dse-hf"), "publish", model, "org/tiny", "--private"],
        capture_output=True,
        text=True,
        env=hub.environment(),
        cwd=hub.root,
    )
    commit = hub.commits("org/tiny")[0].id
    assert (done.returncode, done.stderr.count("\n")) == (0, 3), done.stderr
    size = sum(map(len, hub.files("org/tiny").values())) / 1e6
    assert done.stdout == (
        f"org/tiny: {len(MODEL_FILES)} files, {size:.1f} MB, commit {commit[:7]}\n"
        f"  {hub.url}/org/tiny/commit/{commit}\n"
    )
    assert hub.is_private("org/tiny")


def test_command_line_without_sending_anything(model, tmp_path, capsys):
    space = make_space(tmp_path / "demo")
    assert main(["publish", "--space", str(space), "org/demo", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "          14  app.py\n" in shown and "\n# Demo\n" in shown
    assert main(["publish", str(model / "missing"), "org/tiny", "--quiet"]) == 1
    assert capsys.readouterr().err.startswith(f"dse-hf: model '{model}/missing': no such model")
