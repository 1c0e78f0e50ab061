"""Every command of the README and of the card, run as a reader would run it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from .fresh import TORCH, TRANSFORMERS, run_dse_hf, run_fresh, run_script


ROOT = Path(__file__).parent.parent
CARD = ROOT / "model_cards" / "waveunet-speech-16khz"
# They run the tests, or install: the Makefile and CI do both.
NOT_HERE = {"make test", "pip install -e ."}


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, code) of the fenced blocks that have a language."""
    return re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


# The Python blocks go on from a waveform that the reader has.
WAVEFORM = "import torch; waveform = torch.zeros(1, 16000)\n"

# Options that are added for time alone.
QUICKER = {
    "dse-hf evaluate": " --limit 1 --jobs 1",
    "dse-hf train --model": " --validation_examples 2 --per_device_train_batch_size 2",
}

CASES = [
    pytest.param(language, code, id=f"{path.parent.name}-{number}-{code.split()[0]}")
    for path in (ROOT / "README.md", CARD / "README.md")
    for number, (language, code) in enumerate(blocks(path))
    if code.strip() not in NOT_HERE and "org/waveunet" not in code and ".onnx" not in code
]


@pytest.fixture
def desk(tmp_path):
    """A folder with what the commands name."""
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    noisy = noisy[:18400]  # DNSMOS doubles that until it has one window of its own; one second would give it seven
    soundfile.write(tmp_path / "noisy.wav", noisy, 16000)
    shutil.copy(tmp_path / "noisy.wav", tmp_path / "phone.m4a")  # what is in a file counts, not its name
    for name in ("my-speech", "my-noise"):
        for split in ("train", "validation"):
            (tmp_path / name / split).mkdir(parents=True)
            soundfile.write(tmp_path / name / split / "1.wav", noisy, 16000)
            pair = tmp_path / "my-pairs" / split
            for side in ("noisy", "clean"):
                (pair / side).mkdir(parents=True, exist_ok=True)
                soundfile.write(pair / side / "1.wav", noisy, 16000)
    (tmp_path / "recipe.yaml").write_text(
        "model_config: {num_layers: 2, channel_growth: 4, padding: same}\noutput_dir: run\nuse_cpu: true\n"
        "speech_dataset: ''\nnoise_dataset: ''\nvalidation_examples: 2\nreport_to: none\nsave_strategy: 'no'\n"
    )
    from dse_hf import WaveUNet

    torch.save(WaveUNet(2, 5, 15, 4, padding="same").state_dict(), tmp_path / "libdse.pth")
    return tmp_path


def run_block(
    language: str, code: str, cwd: Path, environment: dict | None = None, imported: str = TRANSFORMERS
) -> None:
    """Runs it as its reader does; all of `dse-hf` but `separate` in a process that starts sooner."""
    environment = dict(os.environ if environment is None else environment)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    lines = code.replace("\\\n", "").splitlines()
    if language == "python":
        results = (run_fresh(WAVEFORM + code, cwd=cwd, env=environment, imported=imported),)
    elif all(line.startswith("dse-hf ") for line in lines) and not code.startswith("dse-hf separate"):
        arguments = (shlex.split(line)[1:] for line in lines)
        results = (run_dse_hf(*words, cwd=cwd, env=environment, imported=imported) for words in arguments)
    else:
        command = ["bash", "-euc", code]
        results = (subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600),)
    for result in results:
        assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize(("language", "code"), CASES)
def test_the_command_works(language, code, desk):
    options = "".join(options for start, options in QUICKER.items() if code.startswith(start))
    if code.startswith("make"):
        run_block(language, code, ROOT, {**os.environ, "MAKEFLAGS": ""})
    else:
        run_block(language, code.rstrip() + options, desk)


def test_the_commands_of_the_hub_work(hub, desk):
    hub_blocks = [block for block in blocks(ROOT / "README.md") if "org/waveunet" in block[1]]
    assert [language for language, _ in hub_blocks] == ["bash", "python"]
    for language, code in hub_blocks:
        run_block(language, code, desk, hub.environment(home=language), imported=TORCH)
    assert (desk / "noisy.foreground.wav").is_file()
    assert hub.is_private("org/waveunet")


def test_the_onnx_file_runs_without_torch_and_gives_what_separate_gives(desk):
    (_, export), (_, code) = [block for block in blocks(ROOT / "README.md") if ".onnx" in block[1]]
    assert len(code.splitlines()) <= 40
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    noisy = np.resize(noisy, (16000 * 11, 2))  # of more than one tile
    soundfile.write(desk / "noisy.wav", noisy, 16000)
    run_block("bash", f"{export.rstrip()}\ndse-hf separate noisy.wav --quiet", desk)
    without = "import sys\nfor name in ('torch', 'transformers', 'dse_hf'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", without + code]
    result = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    for name in ("foreground", "background"):
        ours, theirs = (soundfile.read(desk / f"{prefix}{name}.wav")[0] for prefix in ("noisy.", ""))
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=2 / 2**15)  # both of 16 bits


def test_the_demo_says_in_two_lines_what_it_wrote_and_gained(tmp_path):
    result = run_script(CARD / "demo.py", str(tmp_path), imported=TRANSFORMERS)
    assert result.returncode == 0, result.stderr[-3000:]
    wrote, gained = result.stdout.strip().splitlines()[-2:]
    for name in ("noisy.foreground.wav", "noisy.background.wav", "noisy.png"):
        assert name in wrote and (tmp_path / name).stat().st_size > 1000
    assert float(re.search(r": ([+-][\d.]+) dB", gained)[1]) > 3
    sources = [
        soundfile.read(tmp_path / f"noisy.{name}.wav", dtype="int16")[0] for name in ("foreground", "background")
    ]
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="int16")
    np.testing.assert_array_equal(sum(source.astype(np.int32) for source in sources), noisy)


def test_the_tables_are_the_measured_ones():
    sys.path.insert(0, str(CARD))
    try:
        import evaluate
    finally:
        sys.path.remove(str(CARD))
    results = json.loads((CARD / "results.json").read_text())
    assert set(evaluate.TEXTS) == {ROOT / "README.md", CARD / "README.md"}
    for path in evaluate.TEXTS:
        text = path.read_text(encoding="utf-8")
        assert "| deepfilternet |" in text and evaluate.with_tables(text, results) == text, path


def test_the_table_of_extremes_is_the_measured_one():
    sys.path.insert(0, str(CARD))
    try:
        import extremes
    finally:
        sys.path.remove(str(CARD))
    text = (CARD / "README.md").read_text(encoding="utf-8")
    table = extremes.markdown_table(json.loads((CARD / "extremes.json").read_text()))
    assert f"<!-- table: extremes.json -->\n{table}\n<!-- /table -->" in text


def test_links_lead_somewhere():
    for path in (ROOT / "README.md", CARD / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (path.parent / link).exists(), f"{path.name}: {link}"
