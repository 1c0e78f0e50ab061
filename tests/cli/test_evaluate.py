import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.cli import evaluate as cli_evaluate
from dse_hf.cli import main
from dse_hf.evaluation import run

from ..data.clips import write_clips
from ..fresh import TRANSFORMERS, run_dse_hf


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with a tiny model, and two clips of speech and a noise to mix."""
    folder, rng = tmp_path_factory.mktemp("desk"), np.random.default_rng(0)
    WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same")).save_pretrained(folder / "tiny")
    # DNSMOS doubles that length until it has one window of its own, and other lengths until it has several.
    a, b, train = (rng.normal(size=2300) * 0.1 for _ in range(3))
    write_clips(folder / "speech" / "test", {"a.wav": a, "b.wav": b})
    write_clips(folder / "noise" / "test", {"train.wav": train}, kind=["machine"])
    return folder


MIX = ["--speech_dataset", "speech", "--noise_dataset", "noise"]


def test_a_fresh_process_measures_a_model_and_the_input(desk):
    command = ["evaluate", "input", "./tiny", *MIX, "--snrs=-5,5", "--limit", "2", "-o", "out", "--jobs", "1"]
    result = run_dse_hf(*command, cwd=desk, imported=TRANSFORMERS)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("| | SI-SDR (dB) | SI-SDR improvement (dB) | SDR (dB)")
    assert lines[2].startswith("| input | ") and lines[3].startswith("| ./tiny | ")
    assert lines[-1].startswith("out: results.json, table.md, model-index.json, improvement.png, spectrograms/")
    results = json.loads((desk / "out" / "results.json").read_text())
    assert [record["attributes"] for record in results["models"]["./tiny"]["clips"]] == [
        {"snr": -5, "kind": "machine"},
        {"snr": 5, "kind": "machine"},
    ]
    by_snr = results["models"]["input"]["groups"]["snr"]
    assert [by_snr[snr]["mean"]["si_sdr"] for snr in ("-5", "5")] == pytest.approx([-5, 5], abs=1.5)
    assert results["dataset"]["name"] == "speech + noise" and results["dataset"]["clips"] == 2
    assert (desk / "out" / "spectrograms" / "tiny.worst.png").stat().st_size > 1000


def test_another_run_only_adds_a_model(desk, monkeypatch, capsys, quick_metrics):
    monkeypatch.chdir(desk)
    command = ["evaluate", *MIX, "--limit", "2", "-o", "added", "--jobs", "1", "--quiet"]
    assert main([*command, "input"]) == 0
    first = json.loads((desk / "added" / "results.json").read_text())
    assert main([*command, "./tiny"]) == 0
    second = json.loads((desk / "added" / "results.json").read_text())
    assert list(second["models"]) == ["input", "./tiny"] and second["models"]["input"] == first["models"]["input"]
    assert main([*command, "input", "--limit", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "has scores on other clips" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-model", *MIX], "model 'no-such-model': no such model"),
        (["rnnoize", *MIX], "or one of input, noisereduce, rnnoise, deepfilternet, nsnet2, dtln"),
        (["input", "input", *MIX], "model 'input': given twice"),
        (["input", "--speech_dataset", "no-such-folder", "--noise_dataset", "noise"], "no-such-folder"),
        (["input", *MIX, "--sources", "dialogue,music,effects"], "(3, channels, samples)"),
        (["./tiny", *MIX, "--sources", "speech,noise"], "gives foreground, background, and not speech, noise"),
    ],
)
def test_failures_are_one_line(desk, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(desk)
    assert main(["evaluate", *arguments, "-o", "failed", "--jobs", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dse-hf: ") and message in line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["input"],
        ["input", "--speech_dataset", "speech"],
        ["input", "--dataset", "pairs", *MIX],
        ["input", *MIX, "--limit", "0"],
        ["input", *MIX, "--snrs", "0,loud"],
        ["input", *MIX, "--sources", "a,,b"],
        ["input", *MIX, "--sources", "a,a"],
    ],
)
def test_usage_errors(desk, monkeypatch, arguments):
    monkeypatch.chdir(desk)
    with pytest.raises(SystemExit) as raised:
        main(["evaluate", *arguments])
    assert raised.value.code == 2


def test_an_interruption_says_how_to_go_on(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "score_all", interrupt)
    assert main(["evaluate", "input", *MIX, "-o", "interrupted"]) == 130
    assert capsys.readouterr().err == "dse-hf: interrupted; run the same command again to continue\n"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="POSIX")
def test_an_interruption_of_all_processes_is_one_line(desk):
    command = [sys.executable, "-m", "dse_hf", "evaluate", "input", *MIX, "-o", "stopped", "--jobs", "2"]
    process = subprocess.Popen(
        command,
        cwd=desk,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # in the background it is ignored
    )
    while not psutil.Process(process.pid).children():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    assert process.communicate(timeout=300)[1] == "dse-hf: interrupted; run the same command again to continue\n"
    # CPython ends itself by the signal where it interrupted an `exec` of an import: a shell says 130 then, too.
    assert process.returncode in (130, -signal.SIGINT)


def test_missing_packages_are_named(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    monkeypatch.setattr(cli_evaluate.importlib.util, "find_spec", lambda name: None if name == "pesq" else name)
    assert main(["evaluate", "input", *MIX]) == 1
    assert capsys.readouterr().err == "dse-hf: evaluate: needs pesq; run: pip install 'dse-hf[eval]'\n"
