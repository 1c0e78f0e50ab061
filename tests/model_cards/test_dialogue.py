"""The embedded model of three sources: dialogue, music and effects."""

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

from dse_hf import cli, load_model
from dse_hf.hub.cards.text import quick_start
from dse_hf.loading import DEFAULT_MODEL, embedded_models


NAME = "waveunet-dialogue-16khz"
CARD = Path(__file__).parents[2] / "model_cards" / NAME
# 3 seconds of an Italian voice (CC-BY-3.0) with music (CC-BY-SA-3.0) and a train (CC-BY-SA-2.0), see its README; none
# of them was trained on.
NOISY, DIALOGUE = CARD / "example" / "noisy.wav", CARD / "example" / "dialogue.wav"


def read(path):
    samples, rate = soundfile.read(path, dtype="float32")
    return torch.from_numpy(samples)[None], rate


def si_sdr(estimate, reference) -> float:
    """In dB, written out after Le Roux et al. 2019."""
    target = reference * (estimate * reference).sum() / reference.square().sum()
    return float(10 * torch.log10(target.square().sum() / (estimate - target).square().sum()))


@pytest.fixture(scope="module")
def model():
    return load_model(NAME, device="cpu")


def test_it_is_embedded_and_not_the_default():
    assert NAME in embedded_models() and NAME != DEFAULT_MODEL


def test_three_sources_sum_to_the_mixture(model):
    assert model.dtype == torch.float32 and not model.training
    mixture, rate = read(NOISY)
    sources = model.separate(mixture, rate)
    assert list(sources) == ["dialogue", "music", "effects"]
    assert all(source.shape == mixture.shape and source.abs().max() > 1e-3 for source in sources.values())
    torch.testing.assert_close(sum(sources.values()), mixture, rtol=0, atol=1e-6)


def test_dialogue_gains_on_the_example(model):
    mixture, rate = read(NOISY)
    dialogue, _ = read(DIALOGUE)
    before, after = si_sdr(mixture, dialogue), si_sdr(model.separate(mixture, rate)["dialogue"], dialogue)
    assert after - before > 2


@pytest.mark.parametrize("gain_db", [-6, 6])
def test_a_change_of_level_changes_little(model, gain_db):
    mixture, rate = read(NOISY)
    gain = 10 ** (gain_db / 20)
    dialogue = model.separate(mixture, rate)["dialogue"]
    assert si_sdr(model.separate(mixture * gain, rate)["dialogue"] / gain, dialogue) > 15


def test_the_command_line_writes_a_file_for_each_source(tmp_path):
    assert cli.main(["separate", str(NOISY), "--model", NAME, "-o", str(tmp_path)]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["noisy.dialogue.wav", "noisy.effects.wav", "noisy.music.wav"]
    written = sum(read(tmp_path / name)[0] for name in names)
    torch.testing.assert_close(written, read(NOISY)[0], rtol=0, atol=3 / 32768)


def test_the_card_shows_how_to_use_it_and_its_measured_scores():
    text = (CARD / "README.md").read_text(encoding="utf-8")
    assert f"<!-- quick start -->\n{quick_start(NAME, 16000)}\n<!-- /quick start -->" in text
    table = text.partition("<!-- table: sources -->")[2]
    results = json.loads((CARD / "results.json").read_text(encoding="utf-8"))["models"][NAME]
    for source in ("dialogue", "music", "effects"):
        statistics = results if source == "dialogue" else results["other_sources"][source]
        row = re.search(rf"^\| {source} \|(.*)\|$", table, re.MULTILINE)[1]
        gain, (low, high) = (statistics[name]["si_sdr_improvement"] for name in ("mean", "interval"))
        assert f" {gain:.1f} ({low:.1f} to {high:.1f}) " in row
        assert low > 0  # every source gains
