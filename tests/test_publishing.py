"""`dse-hf publish`: what is checked before, what is sent, and how a failure leaves things."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dse_hf import DAEConfig, DAEModel, WaveformFeatureExtractor, WaveUNetConfig, WaveUNetModel, publishing
from dse_hf.publishing import publish_model, publish_space
from dse_hf.publishing_checks import check_reload

from .hub import LocalHub


MODEL_FILES = {
    "README.md",
    "config.json",
    "configuration_waveunet.py",
    "feature_extraction_waveform.py",
    "model.safetensors",
    "modeling_separation.py",
    "modeling_waveunet.py",
    "modeling_waveunet_fast.py",
    "pipeline_audio_to_audio.py",
    "preprocessor_config.json",
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
    (folder / "requirements.txt").write_text("dse-hf\n")
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


def test_a_dry_run_shows_files_and_card(model):
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
        (lambda folder: (folder / "README.md").write_text("---\ntags: [\n---\n"), "metadata that are not valid"),
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
    source = publishing.stage_model(__import__("dse_hf").pretrained.find_model(model), staged, "org/tiny")
    other = WaveUNetModel.from_pretrained(model)
    other.network.bottleneck[0].bias.data += 0.1
    with pytest.raises(ValueError, match="reloaded, its .*foreground differs by"):
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
    with pytest.raises(ValueError, match="has no app.py"):
        publish_space(space, "org/demo", dry_run=True)
    (space / "README.md").write_text("# Demo\n")
    with pytest.raises(ValueError, match="sdk is None; write `sdk: gradio`"):
        publish_space(space, "org/demo", dry_run=True)
    with pytest.raises(ValueError, match=r"has no README.md"):
        publish_space(tmp_path, "org/demo", dry_run=True)


# ── Pushing ──


# Publishes again and again, as the arguments say, and prints how each time went.
DRIVER = """
import json, sys
import dse_hf.publishing as p
from safetensors.torch import load_file, save_file
p.check_reload = lambda model, staged: None
folder, calls = sys.argv[1], json.loads(sys.argv[2])
for repo, options in calls:
    if options.pop("changed", False):
        weights = load_file(folder + "/model.safetensors")
        weights["network.bottleneck.0.bias"] += 0.5
        save_file(weights, folder + "/model.safetensors", metadata={"format": "pt"})
    publish = p.publish_space if options.pop("space", False) else p.publish_model
    try:
        done = publish(options.pop("folder", folder), repo, **options)
        print(json.dumps([done.changed, done.commit, done.url]))
    except ValueError as error:
        print(json.dumps(str(error)))
"""


def publish_all(hub, folder, *calls, **environment) -> list:
    return [json.loads(line) for line in hub.run(DRIVER, folder, json.dumps(calls), **environment).splitlines()]


def test_one_commit_for_what_is_new_and_none_for_nothing_new(hub, model, tmp_path):
    space = str(make_space(tmp_path / "demo"))
    hub.create_repo("org/mine", files={"picture.png": b"kept", "old_code.py": "gone", "notes/a.py": "kept"})
    hub.create_repo("org/public")
    first, again, changed, branch, mine, demo, demo_again, exposed = publish_all(
        hub,
        model,
        ("org/tiny", {"private": True}),
        ("org/tiny", {"private": True}),
        ("org/tiny", {"changed": True}),
        ("org/tiny", {"revision": "next", "changed": True}),
        ("org/mine", {}),
        ("org/demo", {"space": True, "folder": space}),
        ("org/demo", {"space": True, "folder": space}),
        ("org/public", {"private": True}),
    )
    commits = hub.commits("org/tiny")
    assert [commit.title for commit in commits] == ["Update with dse-hf", "Publish with dse-hf", "initial commit"]
    assert first == [True, commits[1].id, f"{hub.url}/org/tiny/commit/{commits[1].id}"]
    assert again[:2] == [False, commits[1].id]
    assert changed[:2] == [True, commits[0].id]
    assert [path for path, file in commits[0].files.items() if commits[1].files[path] != file] == ["model.safetensors"]
    assert set(hub.files("org/tiny")) == MODEL_FILES
    assert hub.is_private("org/tiny")
    ahead = hub.commits("org/tiny", revision="next")
    assert branch[:2] == [True, ahead[0].id] and ahead[1].id == commits[0].id
    # What others put there stays; code and weights that the model no longer has do not.
    assert mine[0] and set(hub.files("org/mine")) == {*MODEL_FILES, "picture.png", "notes/a.py"}
    assert len(hub.commits("org/mine")) == 3
    assert demo[0] and not demo_again[0]
    assert set(hub.files("org/demo", "space")) == {"README.md", "app.py", "requirements.txt"}
    assert exposed.startswith("org/public: exists and is public; make it private on its settings page")


def test_a_failed_push_changes_nothing_and_says_how_to_go_on(hub, model):
    for name in ("a", "b", "c", "d"):
        hub.create_repo(f"org/{name}", files={"model.safetensors": "old"})
    before = {name: hub.commits(f"org/{name}")[0].id for name in ("a", "b", "c", "d")}
    hub.fail("POST /api/models/org/a/commit", 500)
    hub.fail("POST /org/b.git/info/lfs", 503, times=float("inf"))
    hub.fail("PUT /lfs-upload", break_after=1000)  # once: the client tries again
    hub.fail("POST /api/models/org/d/commit", 412)
    refused, unavailable, mended, overtaken, after = publish_all(
        hub,
        model,
        ("org/a", {}),
        ("org/b", {"changed": True}),
        ("org/c", {"changed": True}),
        ("org/d", {}),
        ("org/a", {}),
        impatient=True,
    )
    state = "nothing changed there, its last commit is"
    advice = "run this again: what was uploaded is not uploaded twice"
    assert refused == f"org/a: the push failed (the Hub answered 500); {state} {before['a'][:7]}; {advice}"
    assert unavailable == f"org/b: the push failed (the Hub answered 503); {state} {before['b'][:7]}; {advice}"
    assert overtaken.endswith("someone else has pushed in the meantime: look at it, and run this again")
    assert mended[0] and after[0]
    assert {name: hub.commits(f"org/{name}")[0].id == before[name] for name in "abcd"} == {
        "a": False,  # the second time
        "b": True,
        "c": False,
        "d": True,
    }
    assert hub.files("org/c")["model.safetensors"] == (model / "model.safetensors").read_bytes()


def test_an_interrupted_upload_goes_on_where_it_stopped(hub, model):
    hub.fail("POST .*/commit/", 500)
    failed, done = publish_all(hub, model, ("org/tiny", {}), ("org/tiny", {}))
    assert "the push failed (the Hub answered 500)" in failed and done[0]
    uploads = [path for method, path, _ in hub.requests if method == "PUT"]
    assert len(uploads) == len(set(uploads)) > 0
    assert len(hub.commits("org/tiny")) == 2


def test_who_may_not_push_is_told_what_to_do(hub, model):
    (stranger,) = publish_all(hub, model, ("strangers/tiny", {}))
    assert stranger.startswith("strangers/tiny: the push failed (the Hub answered 403); nothing was sent; your token")
    (anonymous,) = publish_all(hub, model, ("org/tiny", {}), token=None)
    assert anonymous.endswith("log in: `hf auth login`, or set HF_TOKEN")
    (offline,) = publish_all(hub, model, ("org/tiny", {}), offline=True)
    assert offline == "org/tiny: HF_HUB_OFFLINE is set; unset it to publish"
    hub.__exit__()
    (alone,) = publish_all(hub, model, ("org/tiny", {}), impatient=True)
    assert alone.startswith("org/tiny: the push failed (") and alone.endswith("is not uploaded twice")
    assert not hub.exists("org/tiny")


# ── The command line ──


def command(hub: LocalHub, *arguments, **environment) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["dse-hf", "publish", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**hub.environment(**environment), "PATH": path},
        cwd=hub.root,
    )


def test_command_line(hub, model):
    done = command(hub, model, "org/tiny", "--private")
    commit = hub.commits("org/tiny")[0].id
    assert (done.returncode, done.stderr.count("\n")) == (0, 3), done.stderr
    size = sum(map(len, hub.files("org/tiny").values())) / 1e6
    assert done.stdout == (
        f"org/tiny: 10 files, {size:.1f} MB, commit {commit[:7]}\n  {hub.url}/org/tiny/commit/{commit}\n"
    )
    assert hub.is_private("org/tiny")
    shown = command(hub, "--space", make_space(hub.root / "demo"), "org/demo", "--dry-run")
    assert shown.returncode == 0 and "             14  app.py\n" in shown.stdout and "\n# Demo\n" in shown.stdout
    assert not hub.exists("org/demo", "space")
    failed = command(hub, model / "missing", "org/tiny")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith(f"dse-hf: model '{model}/missing': no such model")
