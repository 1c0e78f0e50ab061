"""A new metric and a new system, one entry of a table each: everything that shows scores must have them."""

import json

import numpy as np
import pytest
import soundfile

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.cli import main
from dse_hf.evaluation import evaluate, load_system
from dse_hf.evaluation.metrics import METRICS, Metric, available_metrics, score_signal
from dse_hf.evaluation.model_index import model_index
from dse_hf.evaluation.peers import PEERS, PeerAdapter
from dse_hf.evaluation.tables import difference_table, report_markdown
from dse_hf.hub.cards import write_card
from dse_hf.training.validation import mean_metrics, score_clips
from tests.evaluation.test_evaluation import four_clips


def error(estimate, reference, sampling_rate):
    assert sampling_rate == 16000
    return (estimate - reference).abs().mean(dim=-1)


def halve(samples, sampling_rate):
    return samples / 2


@pytest.fixture(autouse=True)
def toys(monkeypatch, quick_metrics):
    monkeypatch.setitem(METRICS, "error", Metric("Error", error, unit="V", digits=4, more_is_better=False))
    monkeypatch.setitem(PEERS, "toy", PeerAdapter("numpy", f"{__name__}:halve"))


def test_it_is_scored():
    assert "error" in available_metrics(16000) and "error" in available_metrics(44100, speech=False)
    signals = np.random.default_rng(0).normal(size=(3, 2, 600)).astype(np.float32)
    scores, reasons = score_signal(*signals, 16000, ["error"])
    assert scores["error"] == pytest.approx(np.abs(signals[0] - signals[1]).mean(), rel=1e-5) and not reasons
    assert score_signal(signals[0], 0 * signals[1], signals[2], 16000, ["error"])[1] == {"error": "silent reference"}


def test_it_is_in_results_tables_report_and_card(tmp_path):
    folder = tmp_path / "tiny"
    model = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same"))
    model.save_pretrained(folder)
    systems = [load_system(name) for name in ("input", "toy", str(folder))]
    results = evaluate(systems, four_clips, folder)
    means = {name: entry["mean"]["error"] for name, entry in results["models"].items()}
    assert means["toy"] > 0 and "error" in results["config"]["metrics"] and "numpy" in results["versions"]
    assert "error" in results["models"]["toy"]["other_sources"]["background"]["mean"]
    assert "Error (V) |" in report_markdown(results)
    # Of errors, less is better: who is ahead has the smaller one.
    ahead = float(difference_table(results).splitlines()[2].split("|")[-2].split()[0])
    assert ahead == pytest.approx(means["input"] - means[str(folder)], abs=1e-4)
    (entry,) = model_index(results, str(folder))
    values = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert values["error"] == means[str(folder)]
    card = write_card(folder).read_text()
    assert "Error (V) |" in card and "- error\n" in card and f"value: {means[str(folder)]}\n" in card
    # Training has it too.
    metrics = mean_metrics(score_clips(model, four_clips())[0], model.config.sources)
    assert metrics["background_error"] > 0
    assert "| Error (V) |\n|---|\n| 0.1250 |" in write_card(folder, results={"eval_error": 0.125}).read_text()


def test_the_command_line_has_both(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("speech", "noise")):
        (tmp_path / name / "test").mkdir(parents=True)
        samples = np.random.default_rng(seed).normal(size=2000) * 0.1
        soundfile.write(tmp_path / name / "test" / "a.wav", samples, 16000)
    options = ["--speech_dataset", "speech", "--noise_dataset", "noise", "--limit", "1", "--jobs", "1"]
    assert main(["evaluate", "input", "toy", *options]) == 0
    heading, _, _, row = capsys.readouterr().out.splitlines()[:4]
    assert heading.endswith("| Error (V) |") and row.startswith("| toy | ")
    assert json.loads((tmp_path / "evaluation" / "results.json").read_text())["models"]["toy"]["mean"]["error"] > 0
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "toy" in capsys.readouterr().out.split()
