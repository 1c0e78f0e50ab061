"""Every command and every block of code in the texts, the notebook and the examples, run as a reader runs them."""

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

from ..audio.sounds import write_av
from ..cleaning.datasets import parquet
from ..fresh import TORCH, TRANSFORMERS, run_fresh, run_script


ROOT = Path(__file__).parents[2]
CARD = ROOT / "model_cards" / "waveunet-speech-16khz"
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), CARD / "README.md"]
TEXTS += [ROOT / "examples" / "README.md"]
NOTEBOOK = ROOT / "docs" / "fine_tune_and_publish.ipynb"

# Blocks that do not run here, by how they start, and why. Their options and their syntax are checked.
NOT_RUN = {
    "git clone": "needs the network",
    "make": "runs these tests; the demo has a test of its own",
    ".venv/bin/python -m pytest": "runs these tests",
    "hf jobs": "needs the Hub's machines",
    "accelerate launch --num_machines": "needs two machines",
    "ray start": "needs two machines",
    "#!/bin/bash\n#SBATCH": "needs a cluster",
    "dse-hf clean --engine ray": "has a test of its own",
    "dse-hf clean org/": "has a test of its own, with a Hub",
    "dse-hf export": "has a test of its own, with the program that reads the file",
    "import json\n\nimport numpy as np\nimport onnxruntime": "as dse-hf export",
}
# Options of other programs.
OTHERS = (
    "--block --clients --cpu --cpus-per-task --depth --exclude --first --flavor --generate --head --help_all "
    "--machine_rank --main_process_ip --main_process_port --minutes --nodelist --nodes --nproc_per_node "
    "--ntasks-per-node --num_machines --num_processes --only --output --pause --per-snr --port --rounds "
    "--seconds --secrets --split --steps --write"
)
# Documents that publish, and what.
MADE_ON_THE_HUB = {"README.md": "org/tuned", "docs/publish.md": "org/waveunet"}
# Options that are added to save time.
QUICKER = {
    "dse-hf evaluate": " --limit 1 --jobs 1",
    "dse-hf clean": " --processes 1",
    "dse-hf train --model ": " --validation_examples 2 --per_device_train_batch_size 2 --window_seconds 0.5",
    "uv run": " --validation_examples 2 --per_device_train_batch_size 2 --window_seconds 0.5",
}

# Runs blocks one after another. `dse-hf` and `uv run` run in this process, which starts once. A block that begins with
# `# PATH` is a file, with `# PATH, before NAME` or `# PATH, in NAME` a part of one.
READER = r"""
import json, pathlib, re, runpy, shlex, subprocess, sys, torch, types, wrapt
sys.modules["IPython.display"] = types.SimpleNamespace(Audio=str, Image=str, display=print)
if sys.argv[2]:  # a model is not loaded in a new process before it is published, which takes seconds
    hook = lambda module: setattr(module, "check_reload", lambda *arguments: None)
    wrapt.register_post_import_hook(hook, "dse_hf.hub.publishing")
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
        comma = "," * (place == "in" and not code.endswith(","))
        path.write_text(f"{text[:end]}\n{code}{comma}\n{text[end:]}")
    elif language == "python":
        exec(compile(code, "<block>", "exec"), names)
    elif all(line.startswith(("dse-hf ", "uv run ")) for line in lines):
        from dse_hf.cli import main
        for program, *words in map(shlex.split, lines):
            sys.argv = words[1:]
            try:
                status = main(words) if program == "dse-hf" else runpy.run_path(words[1])["main"]()
            except SystemExit as end:
                status = end.code
            if status:
                sys.exit(status)
    else:
        subprocess.run(["bash", "-euc", code], check=True)
"""


def blocks(path: Path) -> list[tuple[str, str]]:
    """(language, code) of the fenced blocks that have a language, or of the cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return [
            ("python", "".join(cell["source"])) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"
        ]
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def runs_here(code: str) -> bool:
    return not code.startswith(tuple(NOT_RUN))


@pytest.fixture
def desk(tmp_path):
    """A folder with what the commands name."""
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    noisy = noisy[:18400]  # DNSMOS doubles that until it has one window of its own; one second would give it seven
    soundfile.write(tmp_path / "noisy.wav", noisy, 16000)
    shutil.copy(tmp_path / "noisy.wav", tmp_path / "phone.m4a")  # what is in a file counts, not its name
    (tmp_path / "episodes" / "1").mkdir(parents=True)
    shutil.copy(tmp_path / "noisy.wav", tmp_path / "episodes" / "1" / "monday.wav")
    write_av(tmp_path / "talk.mp4", noisy[:16000, None], 16000, "aac", video=True)
    for split in ("train", "validation"):
        for folder in ("my-speech/{}", "my-noise/{}", "my-pairs/{}/noisy", "my-pairs/{}/clean", "recordings/{}"):
            (tmp_path / folder.format(split)).mkdir(parents=True)
            soundfile.write(tmp_path / folder.format(split) / "1.wav", noisy, 16000)
        (tmp_path / "my-speech" / split / "metadata.csv").write_text("file_name,speaker\n1.wav,ada\n")
    (tmp_path / "my-parquet").mkdir()
    (tmp_path / "my-parquet" / "train.parquet").write_bytes(parquet([0, 1]))
    from dse_hf import WaveUNet

    torch.save(WaveUNet(2, 5, 15, 4, padding="same").state_dict(), tmp_path / "libdse.pth")
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "spaces" / "source_separation", tmp_path / "source_separation")
    shutil.copytree(ROOT / "dse_hf", tmp_path / "dse_hf", ignore=shutil.ignore_patterns("pretrained", "__pycache__"))
    (tmp_path / "dse_hf" / "pretrained").symlink_to(ROOT / "dse_hf" / "pretrained")
    return tmp_path


def read_through(steps: list[tuple[str, str]], folder: Path, hub=None) -> None:
    """Runs blocks in one process and one folder, with the PATH of a virtual environment that is active."""
    imported = TORCH if hub else TRANSFORMERS  # clients read the address of the Hub when they are imported
    environment = {**(hub.environment() if hub else os.environ), "REPOSITORY": "https://example.org/dse-hf"}
    environment["PYTHONPATH"] = f"{folder}{os.pathsep}{environment.get('PYTHONPATH', '')}"  # the walks change the code
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    quick = "" if hub or "org/tiny" in str(steps) else "quick"
    result = run_fresh(READER, json.dumps(steps), quick, cwd=folder, env=environment, imported=imported)
    assert result.returncode == 0, result.stderr[-5000:]


@pytest.mark.parametrize("document", [*TEXTS, NOTEBOOK], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_document_says_works(document, desk, request):
    hub = request.getfixturevalue("hub") if document.relative_to(ROOT).as_posix() in MADE_ON_THE_HUB else None
    steps = [(language, code.rstrip()) for language, code in blocks(document) if runs_here(code)]
    for number, (language, code) in enumerate(steps):
        steps[number] = language, code + "".join(QUICKER[start] for start in QUICKER if code.startswith(start))
    read_through(steps, desk / "docs" if document == NOTEBOOK else desk, hub)
    if hub:
        assert hub.files(MADE_ON_THE_HUB[document.relative_to(ROOT).as_posix()])["modeling_waveunet.py"]


def test_blocks_that_do_not_run_are_valid():
    for language, code in (block for document in TEXTS for block in blocks(document)):
        if language == "bash" and not runs_here(code):
            result = subprocess.run(["bash", "-n", "-c", code], capture_output=True, text=True)
            assert result.returncode == 0, f"{code}\n{result.stderr}"
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for document in TEXTS:
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
    for document in TEXTS:
        options = re.findall(r"(?<![\w-])--[a-z][\w-]*", document.read_text(encoding="utf-8"))
        assert set(options) <= known, document


def test_links_lead_somewhere():
    for document in TEXTS:
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


def test_the_notebook_has_no_outputs():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_the_examples_say_what_they_need():
    """In a header as `uv run` reads it (PEP 723)."""
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    for path in (ROOT / "examples").glob("*.py"):
        header = re.match(r"# /// script\n((?:#.*\n)+?)# ///\n", path.read_text(encoding="utf-8"))[1]
        about = tomllib.loads(re.sub("^# ?", "", header, flags=re.MULTILINE))
        assert about["requires-python"] == python and about["dependencies"][0].startswith("dse-hf")
        assert (path.parent / about["tool"]["uv"]["sources"]["dse-hf"]["path"]).resolve() == ROOT
        assert f"uv run examples/{path.name} " in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


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
    read_through([("bash", f"{export.rstrip()}\ndse-hf separate noisy.wav --quiet --best")], desk)
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
    assert f"<!-- table: extremes.json -->\n{table}\n<!-- /table -->" in (CARD / "README.md").read_text(
        encoding="utf-8"
    )
