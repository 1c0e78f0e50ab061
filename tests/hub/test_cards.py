"""Model cards: valid for huggingface_hub, with the facts of the folder, and with examples that run."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard

from dse_hf import (
    AudioToAudioPipeline,
    DVAEConfig,
    DVAEModel,
    SpectrogramFeatureExtractor,
    WaveformFeatureExtractor,
    WaveUNetConfig,
    WaveUNetModel,
)
from dse_hf.hub.cards.card import TEXTS, render_card, write_card
from dse_hf.hub.cards.text import example, quick_start

from .store import check_metadata


EMBEDDED = Path(TEXTS) / "waveunet-speech-16khz"
SECTIONS = ["Quick start", "Example", "Results", "The model", "Training data", "Limits", "Citation"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a tiny model, as it is published."""
    folder = tmp_path_factory.mktemp("cards") / "tiny"
    torch.manual_seed(0)
    model = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same"))
    AudioToAudioPipeline(
        model=model, feature_extractor=WaveformFeatureExtractor(), task="audio-to-audio"
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """One without a card."""
    return shutil.copytree(saved, tmp_path / "tiny", ignore=shutil.ignore_patterns("README.md"))


def valid(path: Path) -> ModelCard:
    """The card, which huggingface_hub and the Hub's own checks accept."""
    card = ModelCard.load(path, ignore_metadata_errors=False)
    assert check_metadata(card.content, "model") == ([], [])
    assert not re.search(r"<!-- [\w ]+ -->\n<!-- /", card.content.replace("<!-- base model -->\n<!-- /", ""))
    return card


def evaluation(**models) -> dict:
    """What `dse-hf evaluate` writes, as far as cards read it: means of SI-SDR."""
    means = {
        name: {"mean": {"si_sdr": value}, "groups": {}, "other_sources": {}, "not_scored": {}}
        for name, value in models.items()
    }
    dataset = {"name": "held-out clips", "clips": 7, "seconds": 42.0, "sampling_rate": 16000, "fingerprint": "abc"}
    return {"models": means, "dataset": {**dataset, "sources": ["foreground", "background"]}}


def test_a_folder_without_a_card_gets_a_complete_one(folder):
    assert write_card(folder) == folder / "README.md"
    card = valid(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "audio-to-audio")
    assert {"audio", "waveunet", "dse-hf"} <= set(card.data.tags)
    assert re.findall(r"^## (.*)$", card.text, re.MULTILINE) == SECTIONS
    parameters = sum(p.numel() for p in WaveUNetModel.from_pretrained(folder).parameters())
    assert f"Wave-U-Net, {parameters:,} parameters" in card.text
    assert "**For**" in card.text and "**Not for**" in card.text
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_all_that_is_known_is_in_it(folder):
    (folder / "my-data").mkdir()
    (folder / "my-data" / "README.md").write_text("---\nlicense: [cc-by-4.0, mit]\n---\n")
    datasets = ["org/speech", str(folder / "my-data")]
    results = evaluation(input=5.0, tiny=9.25, rnnoise=8.0)
    write_card(folder, base_model="org/base", datasets=datasets, license="mit", results=results)
    card = valid(folder / "README.md")
    assert (card.data.base_model, card.data.license, card.data.datasets) == ("org/base", "mit", ["org/speech"])
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("si_sdr", 9.25, "held-out clips")
    assert card.data.metrics == ["si_sdr"] and card.data.model_name == "tiny"
    for line in ("| input | 5.0 |", "| tiny | 9.2 |", "| rnnoise | 8.0 |", "- trained from `org/base`"):
        assert line in card.text
    assert (
        "- `org/speech`; licence: not stated\n- `my-data`, a folder of the author's; licence: cc-by-4.0, mit"
        in card.text
    )


def test_written_again_it_says_the_same_and_takes_what_is_new(folder):
    write_card(folder, base_model="waveunet-speech-16khz", datasets=["org/speech"], license="mit")
    before = (folder / "README.md").read_text()
    write_card(folder)
    assert (folder / "README.md").read_text() == before
    (folder / "results.json").write_text(json.dumps(evaluation(input=5.0, other=7.0)))
    write_card(folder, repo_id="org/other")
    card = valid(folder / "README.md")
    assert "trained from `waveunet-speech-16khz`" in card.text and card.data.license == "mit"
    assert card.data.base_model is None  # the Hub knows none of that name
    assert "# other" in card.text and '"org/other"' in card.text and "| other | 7.0 |" in card.text


def test_the_trainers_metrics_are_results(folder):
    write_card(folder, results={"eval_loss": 0.5, "eval_si_sdr": 9.04, "eval_runtime": 3.0, "epoch": 1})
    card = valid(folder / "README.md")
    assert [(result.metric_type, result.metric_value) for result in card.data.eval_results] == [("si_sdr", 9.04)]
    assert "| SI-SDR (dB) |\n|---|\n| 9.0 |" in card.text


def test_what_people_wrote_stays(folder):
    (folder / "README.md").write_text(
        "---\nlicense: mit\nlanguage: de\n---\n# Ours\n\n[a](gone.md) [b](config.json)\n"
    )
    card = ModelCard(render_card(folder))
    assert card.text.strip() == "# Ours\n\na [b](config.json)"
    assert (card.data.license, card.data.language, card.data.pipeline_tag) == ("mit", "de", "audio-to-audio")


def test_scores_need_none_of_the_extras(folder):
    (folder / "results.json").write_text(json.dumps(evaluation(input=5.0, tiny=9.25)))
    code = (
        "import sys\nfor name in ('scipy', 'datasets', 'matplotlib', 'torchmetrics'): sys.modules[name] = None\n"
        "import dse_hf.hub.cards.results\nassert 'torch' not in sys.modules and 'dse_hf.data' not in sys.modules\n"
        "from dse_hf.hub.cards import write_card\nwrite_card(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| tiny | 9.2 |" in valid(folder / "README.md").text


def test_other_networks_have_their_own_words(tmp_path):
    config = DVAEConfig(hidden_sizes=[8], latent_dim=4, n_fft=32, hop_length=16)
    DVAEModel(config).save_pretrained(tmp_path / "voice")
    SpectrogramFeatureExtractor(n_fft=32, hop_length=16).save_pretrained(tmp_path / "voice")
    write_card(tmp_path / "voice")
    card = valid(tmp_path / "voice" / "README.md")
    assert "Variational denoising autoencoder" in card.text and "8000 Hz, mono" in card.text
    assert "Kingma" in card.text and "Stoller" not in card.text


@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "is a bert model"),
        (lambda folder: (folder / "config.json").write_text("{"), "is no model that can be described"),
        (lambda folder: (folder / "README.md").write_text("---\n- a\n---\n"), "its metadata are not valid"),
        (
            lambda folder: (folder / "README.md").write_text("---\nmodel-index:\n- name: x\n---\n"),
            "its metadata are not valid",
        ),
    ],
)
def test_what_cannot_be_described_is_refused_in_one_line(folder, damage, wanted):
    damage(folder)
    with pytest.raises(ValueError, match=wanted) as error:
        write_card(folder)
    assert "\n" not in str(error.value)


# ── The embedded model's card ──


def test_the_embedded_models_card_is_as_it_would_be_written_today():
    card = valid(EMBEDDED / "README.md")
    for name, content in (
        ("quick start", quick_start(EMBEDDED.name, 16000)),
        ("example", example(EMBEDDED / "example", "example")),
    ):
        assert f"<!-- {name} -->\n{content}\n<!-- /{name} -->" in card.text


def test_published_it_has_the_measured_scores_and_the_repositorys_name(folder):
    text = (EMBEDDED / "README.md").read_text()
    card = ModelCard(render_card(folder, repo_id="org/speech", text=text, results=json.loads(
        (EMBEDDED / "results.json").read_text()
    )))  # fmt: skip
    assert check_metadata(card.content, "model") == ([], [])
    measured = json.loads((EMBEDDED / "results.json").read_text())["models"][EMBEDDED.name]["mean"]
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == measured
    assert '"org/speech"' in card.text and 'load_model("waveunet' not in card.text
    assert card.data.license == "apache-2.0"


# ── Its examples run. tests/docs/test_documents.py runs the embedded model's own ──


def test_examples_of_a_written_card_run_beside_the_folder(saved):
    write_card(saved)
    soundfile.write(saved.parent / "noisy.wav", np.sin(np.arange(4000) / 9) / 2, 16000)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", (saved / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "python"]
    # In one process, as importing torch takes the time; the command line is that of the same interpreter.
    command = blocks[0][1].split()
    assert command[0] == "dse-hf"
    code = "\n".join(
        [
            "import torch; waveform = torch.zeros(1, 4000)",
            *(block for language, block in blocks if language == "python"),
            f"from dse_hf.cli import main\nassert main({command[1:]}) == 0",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=saved.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "foreground (1, 4000) 16000" in done.stdout
    assert (saved.parent / "noisy.foreground.wav").is_file()
