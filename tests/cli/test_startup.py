"""What a command imports is what its user waits for."""

import json
import os
import subprocess
import sys

import pytest
import soundfile

from tests.audio.sounds import tones


SLOW = {"torch", "transformers", "numpy", "soundfile", "soxr", "av", "tqdm", "huggingface_hub", "onnx", "onnxruntime"}
NOT_FOR_SEPARATION = {"datasets", "gradio", "matplotlib", "pandas", "sklearn", "scipy", "pyarrow", "torchmetrics"}

# Prints the packages that the code has imported, each with the module that was the first to want it.
RECORDER = """
import json, sys

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if "." not in name and name not in importers:
            frame = sys._getframe(1)
            while frame and frame.f_globals.get("__name__", "").startswith(("importlib", "_frozen_importlib")):
                frame = frame.f_back
            importers[name] = frame.f_globals.get("__name__", "") if frame else ""

importers = {}
sys.meta_path.insert(0, Recorder())
for name in %r: sys.modules[name] = None
%s
print(json.dumps({name: importers.get(name, "") for name in {name.split(".")[0] for name in sys.modules}
                  if sys.modules.get(name)}))
"""


def imported_by(code, missing=(), folder=None) -> dict[str, str]:
    command = [sys.executable, "-c", RECORDER % (list(missing), code)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("command", ["separate", "clean", "export", "publish", "convert", "app", "evaluate"])
def test_help_imports_nothing_slow(command):
    code = f"from dse_hf.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    imported = imported_by(code)
    assert "argparse" in imported
    assert not (SLOW | NOT_FOR_SEPARATION) & set(imported)


def test_the_package_is_lazy():
    imported = imported_by("import dse_hf; assert 'load_model' in dir(dse_hf)")
    assert "dse_hf" in imported and not (SLOW | NOT_FOR_SEPARATION) & set(imported)


@pytest.mark.parametrize("wanted", [False, True])
def test_onnx_runtime_reports_nothing_unless_the_user_wants_it(tmp_path, wanted):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
    }  # and nothing that tells of a CI, where it is off
    if wanted:
        environment["ORT_DISABLE_TELEMETRY"] = "0"
    code = "import os, dse_hf, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"{int(not wanted)}\n", done.stderr[-3000:]
    assert wanted or not [path for path in tmp_path.rglob("*") if "microsoft" in str(path).lower()]


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "noisy.wav", tones(16000, 1.0, 1), 16000)
    return tmp_path


SEPARATE = "from dse_hf.cli import main\nassert main(['separate', 'noisy.wav', '--quiet']) == 0"


def test_separation_imports_nothing_that_it_does_not_need(folder):
    """transformers takes four times as long to import as torch, and PyAV a tenth."""
    imported = imported_by(SEPARATE, folder=folder)
    assert (folder / "noisy.foreground.wav").is_file() and {"torch", "safetensors", "soundfile"} <= set(imported)
    not_needed = {"transformers", "av", "requests", "httpx", "pydantic", "mutagen"} | NOT_FOR_SEPARATION
    assert {name: imported[name] for name in not_needed & set(imported)} == {}


def test_separation_needs_none_of_the_extras(folder):
    extras = NOT_FOR_SEPARATION | {"accelerate", "pesq", "pystoi", "tensorboard", "onnx", "onnxruntime"}
    imported = imported_by(SEPARATE, missing=extras, folder=folder)
    assert (folder / "noisy.foreground.wav").is_file()
    assert not extras & set(imported)
