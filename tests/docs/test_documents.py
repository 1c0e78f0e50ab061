"""Every command and every block of code in the README, in docs/ and in the speech card, run as a reader runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ..fresh import TORCH, TRANSFORMERS, run_fresh, run_script


ROOT = Path(__file__).parents[2]
CARD = ROOT / "model_cards" / "waveunet-speech-16khz"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), CARD / "README.md"]
DOCUMENTS += [ROOT / "examples" / "README.md"]

# Blocks that do not run here, by how they start, and why. Their options and their syntax are checked.
NOT_RUN = {
    "git clone": "needs the network",
    "make": "runs these tests; the demo has a test of its own",
    ".venv/bin/python -m pytest": "runs these tests",
    "hf jobs": "needs the Hub's machines",
    "accelerate launch --num_machines": "needs two machines",
    "uv run": "needs the network; tests/docs/test_examples.py runs these commands without uv",
    "dse-hf export": "has a test of its own, with the program that reads the file",
    "import json\n\nimport numpy as np\nimport onnxruntime": "as dse-hf export",
}
# Options of other programs.
OTHERS = (
    "--cpu --depth --first --flavor --help_all --main_process_ip --main_process_port --machine_rank --minutes "
    "--nproc_per_node --num_machines --num_processes --only --output --pause --per-snr --rounds --secrets --seconds "
    "--clients --split --steps --write"
)
# Options that are added to save time.
QUICKER = {
    "dse-hf evaluate": " --limit 1 --jobs 1",
    "dse-hf train --model ": " --validation_examples 2 --per_device_train_batch_size 2 --window_seconds 0.5",
}

# Runs blocks one after another. `dse-hf` runs in this process, which starts once. A block that begins with `# PATH` is
# a file, with `# PATH, before NAME` or `# PATH, in NAME` a part of one.
READER = r"""
import json, os, pathlib, re, shlex, subprocess, sys, torch
names = {"__name__": "reader", "waveform": 0.1 * torch.randn(1, 16000)}
for language, code in json.loads(sys.argv[1]):
    print(code, file=sys.stderr)
    lines = code.replace("\\\n", "").splitlines()
    if match := re.match(r"# ([\w./-]+[.]\w+)(?:, (before|in) (\w+))?$", lines[0].partition(": ")[0]):
        name, place, table = match.groups()
        path = pathlib.Path(name)
        text = path.read_text() if place else ""
        start = text.index(f"\n{table}: ") if place else 0
        end = re.compile(r"\n(    [)]\n)?}\n").search(text, start).start() if place == "in" else start
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text[:end] + "\n" + code + "\n" + text[end:])
    elif language == "python":
        exec(compile(code, "<block>", "exec"), names)
    elif all(line.startswith("dse-hf ") for line in lines):
        from dse_hf.cli import main
        for line in lines:
            if status := main(shlex.split(line)[1:]):
                sys.exit(status)
    else:
        subprocess.run(["bash", "-euc", code], check=True)
"""


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, code) of the fenced blocks that have a language."""
    return re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def runs_here(code: str) -> bool:
    return not code.startswith(tuple(NOT_RUN))


@pytest.fixture
def desk(tmp_path):
    """A folder with what the commands name."""
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    noisy = noisy[:18400]  # DNSMOS doubles that until it has one window of its own; one second would give it seven
    soundfile.write(tmp_path / "noisy.wav", noisy, 16000)
    shutil.copy(tmp_path / "noisy.wav", tmp_path / "phone.m4a")  # what is in a file counts, not its name
    for split in ("train", "validation"):
        for folder in ("my-speech/{}", "my-noise/{}", "my-pairs/{}/noisy", "my-pairs/{}/clean"):
            (tmp_path / folder.format(split)).mkdir(parents=True)
            soundfile.write(tmp_path / folder.format(split) / "1.wav", noisy, 16000)
        (tmp_path / "my-speech" / split / "metadata.csv").write_text("file_name,speaker\n1.wav,ada\n")
    from dse_hf import WaveUNet

    torch.save(WaveUNet(2, 5, 15, 4, padding="same").state_dict(), tmp_path / "libdse.pth")
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(ROOT / "spaces" / "source_separation", tmp_path / "source_separation")
    shutil.copytree(ROOT / "dse_hf", tmp_path / "dse_hf", ignore=shutil.ignore_patterns("pretrained", "__pycache__"))
    (tmp_path / "dse_hf" / "pretrained").symlink_to(ROOT / "dse_hf" / "pretrained")
    return tmp_path


def read_through(steps: list[tuple[str, str]], desk: Path, environment: dict | None = None) -> None:
    """Runs blocks in one process and one folder, with the PATH of a virtual environment that is active."""
    imported = TRANSFORMERS if environment is None else TORCH  # with the address of a Hub, which clients read on import
    environment = {"REPOSITORY": "https://example.org/dse-hf", **(environment or os.environ)}
    environment["PYTHONPATH"] = f"{desk}{os.pathsep}{environment.get('PYTHONPATH', '')}"  # the walks change the code
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    result = run_fresh(READER, json.dumps(steps), cwd=desk, env=environment, imported=imported)
    assert result.returncode == 0, result.stderr[-5000:]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_document_says_works(document, desk, request):
    steps = [(language, code.rstrip()) for language, code in blocks(document) if runs_here(code)]
    for number, (language, code) in enumerate(steps):
        steps[number] = language, code + "".join(QUICKER[start] for start in QUICKER if code.startswith(start))
    if any("org/" in code for _, code in steps):
        hub = request.getfixturevalue("hub")
        read_through(steps, desk, hub.environment())
        assert hub.exists("org/tuned") or hub.is_private("org/waveunet")
    elif steps:
        read_through(steps, desk)


def test_blocks_that_do_not_run_are_valid():
    for language, code in (block for document in DOCUMENTS for block in blocks(document)):
        if language == "bash" and not runs_here(code):
            result = subprocess.run(["bash", "-n", "-c", code], capture_output=True, text=True)
            assert result.returncode == 0, f"{code}\n{result.stderr}"
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for document in DOCUMENTS:
        for target in re.findall(r"(?:`|^)make ([\w-]+)", document.read_text(), re.MULTILINE):
            assert target in targets, f"{document}: make {target}"


def test_options_in_the_texts_exist():
    from dse_hf.cli import _parser
    from dse_hf.data import DataArguments
    from dse_hf.training.arguments import ModelArguments, SeparationTrainingArguments

    groups = (ModelArguments, DataArguments, SeparationTrainingArguments)
    known = {f"--{field.name}" for group in groups for field in fields(group)} | set(OTHERS.split())
    for command in _parser()._subparsers._group_actions[0].choices.values():
        known |= set(command._option_string_actions)
    for document in DOCUMENTS:
        options = re.findall(r"(?<![\w-])--[a-z][\w-]*", document.read_text(encoding="utf-8"))
        assert set(options) <= known, document


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", document.read_text(encoding="utf-8")):
            target = document.parent / link if link else document
            if not link.startswith("http"):
                assert target.exists(), f"{document.name}: {link}"
            if anchor:
                headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings]


def test_the_readme_is_short_and_begins_with_the_demo():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150 and "make demo" in lines[:10] and any(".png" in line for line in lines[:20])


# `make` would use the environment of this folder, which the other tests may run without.
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


def test_make_demo_runs_the_demo():
    environment = {**os.environ, "MAKEFLAGS": ""}
    subprocess.run(["make", "demo"], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=600)


def test_the_onnx_file_runs_without_torch_and_gives_what_separate_gives(desk):
    (_, export), (_, code) = [block for block in blocks(ROOT / "docs" / "use.md") if ".onnx" in block[1]]
    assert len(code.splitlines()) <= 40
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    noisy = np.resize(noisy, (16000 * 11, 2))  # of more than one tile
    soundfile.write(desk / "noisy.wav", noisy, 16000)
    read_through([("bash", f"{export.rstrip()}\ndse-hf separate noisy.wav --quiet")], desk)
    without = "import sys\nfor name in ('torch', 'transformers', 'dse_hf'): sys.modules[name] = None\n"
    command = [sys.executable, "-c", without + code]
    result = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    for name in ("foreground", "background"):
        ours, theirs = (soundfile.read(desk / f"{prefix}{name}.wav")[0] for prefix in ("noisy.", ""))
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=2 / 2**15)  # both of 16 bits


def test_the_tables_are_the_measured_ones():
    sys.path.insert(0, str(CARD))
    try:
        import evaluate
        import extremes
    finally:
        sys.path.remove(str(CARD))
    results = json.loads((CARD / "results.json").read_text())
    assert set(evaluate.TEXTS) == {ROOT / "README.md", CARD / "README.md"}
    for path in evaluate.TEXTS:
        text = path.read_text(encoding="utf-8")
        assert "| deepfilternet |" in text and evaluate.with_tables(text, results) == text, path
    table = extremes.markdown_table(json.loads((CARD / "extremes.json").read_text()))
    assert f"<!-- table: extremes.json -->\n{table}\n<!-- /table -->" in (CARD / "README.md").read_text(encoding="utf-8")
