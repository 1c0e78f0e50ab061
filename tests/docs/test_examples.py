"""The scripts in examples/ and the notebook, run on tiny data."""

import json
import shlex
import sys

import pytest
import soundfile

from ..fresh import TRANSFORMERS, run_fresh
from .test_documents import CARD, ROOT, blocks


if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

EXAMPLES = ROOT / "examples"
COMMANDS = next(code for _, code in blocks(EXAMPLES / "README.md") if code.startswith("uv run")).splitlines()
NOTEBOOK = ROOT / "docs" / "fine_tune_and_publish.ipynb"
QUICKER = {"fine_tune.py": ["--use_cpu", "true", "--validation_examples", "1", "--window_seconds", "0.5"]}


@pytest.fixture
def desk(tmp_path):
    noisy, _ = soundfile.read(CARD / "example" / "noisy.wav", dtype="float32")
    pairs = [f"my-pairs/{split}/{side}" for split in ("train", "validation") for side in ("noisy", "clean")]
    for folder in ("recordings/a", *pairs):
        (tmp_path / folder).mkdir(parents=True)
        soundfile.write(tmp_path / folder / "1.wav", noisy[: 18400], 16000)
    return tmp_path


# Publishing reloads a model in a new process, which takes seconds. The tests of documents do that.
WITHOUT_RELOAD = "import dse_hf.hub.publishing as publishing; publishing.check_reload = lambda *arguments: None\n"
SCRIPT = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[2])
def test_an_example_runs(command, desk):
    _, _, script, *arguments = shlex.split(command)
    arguments += QUICKER.get(script.rpartition("/")[2], [])
    result = run_fresh(WITHOUT_RELOAD + SCRIPT, str(ROOT / script), *arguments, cwd=desk, imported=TRANSFORMERS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert {
        "separate_folder.py": (desk / "separated" / "a" / "1.foreground.wav").is_file(),
        "evaluate_models.py": "| waveunet-speech-16khz |" in result.stdout,
        "fine_tune.py": "model.safetensors" in result.stdout and "modeling_waveunet.py" in result.stdout,
    }[script.rpartition("/")[2]]


def test_the_examples_say_what_they_need():
    assert {line.split()[2] for line in COMMANDS} == {f"examples/{path.name}" for path in EXAMPLES.glob("*.py")}
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        header = text.partition("# ///\n")[0].removeprefix("# /// script\n")
        about = tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in header.splitlines()))
        assert [name.partition("[")[0] for name in about["dependencies"]] == ["dse-hf"]
        project = path.parent / about["tool"]["uv"]["sources"]["dse-hf"]["path"] / "pyproject.toml"
        assert about["requires-python"] == tomllib.loads(project.read_text())["project"]["requires-python"]
        assert len(text.splitlines()) < 60


def test_the_notebook_runs(tmp_path):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    (tmp_path / "docs").mkdir()
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    display = "import sys, types; sys.modules['IPython.display'] = types.SimpleNamespace(Audio=str, display=print, Image=str)\n"
    program = WITHOUT_RELOAD + display + "\n".join("".join(cell["source"]) for cell in code)
    result = run_fresh(program, cwd=tmp_path / "docs", imported=TRANSFORMERS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "| tuned |" in result.stdout and (tmp_path / "docs" / "tuned" / "README.md").is_file()
