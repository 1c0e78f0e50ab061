"""Each recipe in `model_cards/`: it trains, with a small network and a small corpus, and names what it makes truly."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel, load_model
from dse_hf.loading import embedded_models
from dse_hf.training.arguments import parse_arguments
from dse_hf.training.run import build_model, main

from .test_scripts import CARDS, script


RECIPES = {path.parent.name: path for path in sorted(CARDS.glob("*/recipe.yaml"))}
SMALL, SMALL_AUTOENCODER = {"num_layers": 2, "channel_growth": 4}, {"hidden_sizes": [8], "latent_dim": 4}
QUICK = {"use_cpu": True, "bf16": False, "max_steps": 1, "eval_steps": 1, "save_steps": 1, "dataloader_num_workers": 0}
STARTED = {"waveunet-dialogue-16khz", "waveunet-speech-48khz"}  # their recipes start from a model
QUICK |= {"per_device_train_batch_size": 2, "validation_examples": 2, "eval_clips": 1, "report_to": "none"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the data that the recipes name: speech, noise, stems of films and of songs."""
    folder, rng = tmp_path_factory.mktemp("desk"), np.random.default_rng(0)
    names = {
        "corpus/speech": ["ada", "bob"],
        "corpus/noise": ["crowd", "train"],
        "corpus/cleaned_speech": ["ada", "bob", "kde-ar", "kde-ml"],
        "corpus/stems": ["0/dialogue", "0/music", "0/effects", "1/dialogue", "1/music", "1/effects"],
        "songs": ["0/vocals", "0/drums", "0/bass", "0/other"],
    }
    for dataset, files in names.items():
        for split in ("train", "validation"):
            for name in files:
                path = folder / dataset / split / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.repeat(rng.uniform(size=8), 2000) * rng.uniform(-0.1, 0.1, 16000), 16000)
    for dataset in ("speech", "noise"):  # at 48 kHz, with tables
        for split in ("train", "validation"):
            rows = ["file_name,speaker,bandwidth" if dataset == "speech" else "file_name,kind"]
            for name in ("ada", "kde-ar", "kde-ml"):
                path = folder / "corpus48" / dataset / split / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.repeat(rng.uniform(size=8), 6000) * rng.uniform(-0.1, 0.1, 48000), 48000)
                rows.append(f"{name}.wav,{name}" + (",12000" if dataset == "speech" else ""))
            (path.parent / "metadata.csv").write_text("\n".join(rows))
    rows = "".join(f"{name}.wav,{name}.wav,{name}\n" for name in names["corpus/cleaned_speech"])
    table = folder / "corpus" / "cleaned_speech" / "train" / "metadata.csv"
    table.write_text(f"audio_file_name,cleaned_file_name,speaker\n{rows}")
    return folder


def arguments_of(name: str):
    return parse_arguments([str(RECIPES[name]), "--use_cpu", "true"])


def train(name: str, folder, sizes: dict | None = None, **options) -> None:
    """One step of the recipe, with a small network, into the folder."""
    if sizes:
        options["model_config"] = json.dumps({**(arguments_of(name)[0].model_config or {}), **sizes})
    options |= QUICK | {"output_dir": folder}
    assert main([str(RECIPES[name]), *(f"--{option}={value}" for option, value in options.items())]) == 0
    assert load_model(folder, device="cpu").num_parameters() < 100_000


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - STARTED - {"waveunet-paper"}))
def test_it_trains_from_random_weights(name, desk, tmp_path, monkeypatch):
    monkeypatch.chdir(desk)
    train(name, tmp_path / "run", SMALL if name.startswith("waveunet") else SMALL_AUTOENCODER)


def test_the_dialogue_trains_from_a_speech_model(desk, tmp_path, monkeypatch):
    monkeypatch.chdir(desk)
    monkeypatch.syspath_prepend(CARDS / "waveunet-dialogue-16khz")
    torch.manual_seed(0)
    speech = WaveUNetModel(WaveUNetConfig(padding="same", **SMALL))
    speech.save_pretrained(tmp_path / "speech")
    initial = arguments_of("waveunet-dialogue-16khz")[0].model
    monkeypatch.setattr(sys, "argv", ["initial.py", initial, "--speech-model", str(tmp_path / "speech")])
    script("waveunet-dialogue-16khz/initial.py").main()
    model, mixture = load_model(initial, device="cpu"), 0.1 * torch.randn(1, 8000)
    dialogue, foreground = (each.separate(mixture, 16000) for each in (model, speech.eval()))
    torch.testing.assert_close(dialogue["dialogue"], foreground["foreground"])
    train("waveunet-dialogue-16khz", tmp_path / "run")
    assert load_model(tmp_path / "run", device="cpu").config.sources == ["dialogue", "music", "effects"]


def test_the_48_khz_model_trains_from_the_16_khz_model(desk, tmp_path, monkeypatch):
    monkeypatch.chdir(desk)
    torch.manual_seed(0)
    speech = WaveUNetModel(WaveUNetConfig(padding="same", **SMALL)).eval()
    initial = script("waveunet-speech-48khz/initial.py")
    monkeypatch.setattr(initial, "load_model", lambda name: speech)
    folder = arguments_of("waveunet-speech-48khz")[0].model
    monkeypatch.setattr(sys, "argv", ["initial.py", folder])
    assert initial.main() == 0
    model = load_model(folder, device="cpu")
    assert (model.config.sampling_rate, model.config.bands) == (48000, 3)
    time = torch.arange(9000) / 48000
    tone = 0.3 * torch.sin(2 * torch.pi * 18000 * time)[None]
    foreground = model.separate(tone, 48000)["foreground"]
    torch.testing.assert_close(foreground[:, 300:-300], tone[:, 300:-300], rtol=0, atol=1e-3)
    # The first band is the signal at 16 kHz, with another phase: loud sounds at 3 kHz are changed as there.
    low, high = torch.sin(2 * torch.pi * 3000 * time[:3000] * 3), torch.sin(2 * torch.pi * 3000 * time)
    expected, found = (
        model.separate(0.1 * tone[None], rate)["foreground"][0, 300:-300].square().mean()
        for model, tone, rate in ((speech, low, 16000), (model, high, 48000))
    )
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)
    train("waveunet-speech-48khz", tmp_path / "run", bias_fading_steps=1, noise_swaps=0)
    assert not load_model(tmp_path / "run", device="cpu").config.bias


def test_a_variant_of_the_paper_trains_and_is_tuned(desk, tmp_path, monkeypatch):
    monkeypatch.chdir(desk)
    sizes = {**SMALL, "padding": "same"}
    train("waveunet-paper", tmp_path / "run", sizes, dataset="songs", paper_variant="M4")
    train("waveunet-paper", tmp_path / "tuned", dataset="songs", model=tmp_path / "run", learning_rate=1e-5)
    assert load_model(tmp_path / "tuned", device="cpu").config.channels == 2


def test_there_is_one_recipe_for_each_card_and_its_run_does_not_take_the_name_of_the_card():
    """A run in a folder of the card's name would get the card, with the scores of the published weights."""
    assert sorted(CARDS.glob("*/*.yaml")) == sorted(RECIPES.values())
    cards = [path.parent.name for path in CARDS.glob("*/README.md")]
    assert sorted(RECIPES) == sorted(cards)
    for name in RECIPES:
        folder = Path(arguments_of(name)[2].output_dir)
        assert folder.parts[0] == "runs" and folder.name not in cards


@pytest.mark.parametrize("name", sorted(set(RECIPES) & set(embedded_models()) - STARTED))
def test_it_makes_a_network_of_the_published_architecture(name):
    with torch.device("meta"):
        made = build_model(arguments_of(name)[0]).config.to_diff_dict()
    published = load_model(name, device="cpu").config.to_diff_dict()
    for fields in (made, published):
        for field in ("architectures", "dtype", "transformers_version"):
            fields.pop(field, None)
    assert made == published
