import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import metadata_load

from dse_hf.hub.publishing import publish_space
from dse_hf.hub.spaces import bundle_package
from tests.hub.local import LocalHub


SPACE = Path(__file__).parents[2] / "spaces" / "source_separation"
ZERO_GPU = "borrowed = []\nGPU = lambda duration: lambda handler: borrowed.append(duration) or handler\n"


def test_what_the_package_needs_is_asked_for_instead(tmp_path):
    (tmp_path / "requirements.txt").write_text("# ours\ndse_hf[space]\nextra-thing==1\n")
    bundle_package(tmp_path)
    lines = (tmp_path / "requirements.txt").read_text().splitlines()
    names = {line.split(">")[0] for line in lines}
    # Of the package, of its extra, and of the extras that this one names.
    assert {"torch", "transformers", "gradio[mcp]", "pesq", "matplotlib", "extra-thing==1", "# ours"} <= names
    assert not any(line.startswith("dse") for line in lines) and "accelerate" not in names
    assert (tmp_path / "dse_hf" / "pretrained" / "waveunet-speech-16khz" / "model.safetensors").is_file()
    assert not list(tmp_path.rglob("__pycache__"))


def test_other_spaces_are_left_alone(tmp_path):
    (tmp_path / "requirements.txt").write_text("dse-hf-like\nscipy\n")
    bundle_package(tmp_path)
    assert (tmp_path / "requirements.txt").read_text() == "dse-hf-like\nscipy\n"
    assert not (tmp_path / "dse_hf").exists()
    (tmp_path / "requirements.txt").write_text("what is this\n")
    with pytest.raises(ValueError, match="'what is this' is no requirement"):
        bundle_package(tmp_path)


def test_our_space_runs_from_what_is_published(tmp_path):
    staged = tmp_path / "space"
    shutil.copytree(SPACE, staged)
    bundle_package(staged)
    # As on ZeroGPU, whose package wraps handlers that need a GPU.
    (staged / "spaces.py").write_text(ZERO_GPU)
    code = "import app, dse_hf, spaces\nprint(dse_hf.__file__, spaces.borrowed, type(app.demo).__name__, sep='\\n')"
    result = subprocess.run([sys.executable, "-c", code], cwd=staged, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    package, borrowed, demo = result.stdout.splitlines()[-3:]
    assert Path(package).is_relative_to(staged)
    assert borrowed != "[]" and demo == "Blocks"


@pytest.mark.parametrize("installed", [False, True])
def test_a_folder_called_spaces_is_not_the_package_of_zero_gpu(tmp_path, installed):
    """The working folder of this repository has one."""
    (tmp_path / "here" / "spaces" / "source_separation").mkdir(parents=True)
    (tmp_path / "packages").mkdir()
    if installed:
        (tmp_path / "packages" / "spaces.py").write_text(ZERO_GPU)
    code = (
        f"import sys; sys.path.append({str(tmp_path / 'packages')!r})\n"
        "from dse_hf.app.zero_gpu import gpu\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "import spaces\n"
        "assert gpu(len) is len\n"
        "print(getattr(spaces, 'borrowed', None))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "here", capture_output=True, text=True)
    assert result.stdout.strip() == ("[60]" if installed else "None"), result.stderr


def test_the_metadata_name_the_models_that_the_owner_has(tmp_path):
    readme = tmp_path / "README.md"
    code = "import sys, pathlib; from dse_hf.hub.spaces import name_models; name_models(pathlib.Path('.'), 'org')"
    with LocalHub(tmp_path / "hub") as hub:
        readme.write_text("---\ntitle: Demo\nsdk: gradio\n---\n# Demo\n")
        hub.run(code, cwd=tmp_path)
        assert readme.read_text() == "---\ntitle: Demo\nsdk: gradio\n---\n# Demo\n"
        hub.create_repo("org/waveunet-speech-16khz")
        hub.create_repo("others/waveunet-speech-16khz")
        hub.run(code, cwd=tmp_path)
        hub.run(code, cwd=tmp_path)
    assert metadata_load(readme) == {"title": "Demo", "sdk": "gradio", "models": ["org/waveunet-speech-16khz"]}
    assert readme.read_text().endswith("\n---\n# Demo\n")


def test_the_file_list_has_the_package():
    shown = publish_space(SPACE, "org/demo", dry_run=True)
    assert "dse_hf/app/interface.py" in shown.files and "app.py" in shown.files


def test_a_space_that_has_to_be_built_is_published_as_it_is_built(tmp_path):
    (tmp_path / "README.md").write_text("---\ntitle: Demo\nsdk: static\n---\n# Demo\n")
    with pytest.raises(ValueError, match=r"has no index\.html, which"):
        publish_space(tmp_path, "org/demo", dry_run=True)
    (tmp_path / "index.html").touch()
    (tmp_path / "build.py").write_text(
        "import pathlib, shutil, sys\nout = pathlib.Path(sys.argv[1])\nout.mkdir()\n"
        "shutil.copy(pathlib.Path(__file__).with_name('README.md'), out)\n(out / 'page.html').write_text('built')\n"
    )
    assert publish_space(tmp_path, "org/demo", dry_run=True).files == {"README.md": 39, "page.html": 5}
    (tmp_path / "build.py").write_text("import sys\nsys.exit('npm: not found; install Node.js')\n")
    with pytest.raises(ValueError, match=r"build\.py: failed \(npm: not found; install Node.js\)"):
        publish_space(tmp_path, "org/demo", dry_run=True)
