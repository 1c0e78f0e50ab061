"""The script behind `make evaluate`."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dse_hf import load_model
from dse_hf.evaluation.systems import load_system
from dse_hf.evaluation.tables import difference_table, markdown_table

from ..data.clips import write_clips
from ..fresh import TRANSFORMERS, run_script


CARD = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz"
PRETRAINED = Path(__file__).parents[2] / "dse_hf" / "pretrained"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(CARD))
    try:
        import evaluate
    finally:
        sys.path.remove(str(CARD))
    return evaluate


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two voices and two kinds of noise, as corpus.py lays them out."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    (folder / "corpus.json").write_text("{}")
    for name, column, labels in (("speech", "speaker", ("ada", "bob")), ("noise", "kind", ("crowd", "music"))):
        clips = {f"{label}.flac": rng.normal(size=16000) * 0.1 for label in labels}
        write_clips(folder / name / "test", clips, **{column: labels})
    return folder


def test_the_clips_are_those_of_the_mixtures_and_say_what_is_in_them(script, corpus):
    clips = list(script.held_out_clips(str(corpus), 3, "test"))
    assert [clip.attributes["snr"] for clip in clips] == [0] * 3 + [5] * 3 + [10] * 3 + [15] * 3
    mixtures = script.held_out_mixtures(str(corpus), 3)
    recordings = {path.stem: soundfile.read(path)[0] for path in corpus.rglob("*.flac")}
    for number, clip in enumerate(clips):
        example = mixtures[clip.attributes["snr"]][number % 3]
        np.testing.assert_array_equal(clip.mixture, example["input_values"])
        np.testing.assert_array_equal(clip.references, example["labels"])
        assert clip.mixture.shape == (1, 96000)
        speech, noise = clip.references[:, 0, :16000]
        snr = 10 * np.log10(np.square(clip.references[0]).sum() / np.square(clip.references[1]).sum())
        assert snr == pytest.approx(clip.attributes["snr"], abs=0.01)
        assert np.corrcoef(speech, recordings[clip.attributes["speaker"]])[0, 1] > 0.999
        assert np.corrcoef(noise, recordings[clip.attributes["kind"]])[0, 1] > 0.999
    assert {clip.attributes["kind"] for clip in clips} == {"crowd", "music"}


def test_further_clips_come_after_the_first_ones(script, corpus):
    clips = [list(script.held_out_clips(str(corpus), *numbers)) for numbers in ((3, "test"), (2, "test", 1))]
    assert [clip.name for clip in clips[1][:3]] == ["0 dB, 1", "0 dB, 2", "5 dB, 1"]
    by_name = {clip.name: clip for clip in clips[0]}
    for clip in clips[1]:
        np.testing.assert_array_equal(clip.references, by_name[clip.name].references)


def test_further_results_leave_the_first_ones_alone(script, tmp_path, monkeypatch):
    results = json.loads((CARD / "results.json").read_text())
    end = "<!-- /table -->\n"
    text = f"<!-- table: results.json -->\nold\n{end}<!-- table: card/further.json differences -->\n{end}"
    (tmp_path / "README.md").write_text(text)
    shutil.copy(CARD / "results.json", tmp_path)
    monkeypatch.setattr(script, "HERE", tmp_path / "card")
    monkeypatch.setattr(script, "TEXTS", [tmp_path / "README.md"])
    (tmp_path / "card").mkdir()
    script.write(results, tmp_path, first=25)
    table = difference_table(results)
    assert "| dtln | +" in table
    assert (tmp_path / "README.md").read_text() == text.replace("differences -->\n", f"differences -->\n{table}\n")
    assert [path.name for path in (tmp_path / "card").iterdir()] == ["further.json"]


def test_results_tables_and_picture_are_replaced(script, tmp_path, monkeypatch):
    results = json.loads((CARD / "results.json").read_text())
    (tmp_path / "card").mkdir()
    (tmp_path / "run").mkdir()
    end = "<!-- /table -->\n"
    text = f"before\n<!-- table: card/results.json -->\nold\n{end}<!-- table: results.json by kind -->\n{end}"
    (tmp_path / "README.md").write_text(text)
    for name in ("results.json", "improvement.png"):
        shutil.copy(CARD / name, tmp_path / "run")
    monkeypatch.setattr(script, "HERE", tmp_path / "card")
    monkeypatch.setattr(script, "TEXTS", [tmp_path / "README.md"])
    script.write(results, tmp_path / "run")
    table, by_kind = markdown_table(results), markdown_table(results, by="kind")
    assert "music" in by_kind and "music" not in table
    text = text.replace("old", table).replace("kind -->\n", f"kind -->\n{by_kind}\n")
    assert (tmp_path / "README.md").read_text() == text
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["improvement.png", "results.json"]


def test_the_tables_are_of_the_committed_results_and_these_of_the_committed_weights(script):
    results = json.loads((CARD / "results.json").read_text())
    extremes = json.loads((CARD / "extremes.json").read_text())
    further = json.loads((CARD / script.FURTHER).read_text())
    version = load_system(CARD.name).version
    assert results["models"][CARD.name]["version"] == further["models"][CARD.name]["version"] == version
    assert extremes["systems"][CARD.name]["version"] == version
    for path in script.TEXTS:
        text = path.read_text(encoding="utf-8")
        assert "<!-- table: " in text and script.with_tables(text, results) == text
        assert script.with_tables(text, further, script.FURTHER) == text
    assert f"table: {script.FURTHER}" in (CARD / "README.md").read_text(encoding="utf-8")


def test_the_default_is_small():
    folder = PRETRAINED / CARD.name
    assert load_model(CARD.name, device="cpu").num_parameters() <= 10e6
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20e6


def test_a_missing_corpus_is_one_line(tmp_path):
    result = run_script(CARD / "evaluate.py", str(tmp_path), imported=TRANSFORMERS)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1 and "no corpus; make it with: python" in result.stderr
