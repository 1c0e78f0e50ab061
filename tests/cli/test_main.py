"""The command line in general, and the commands that hand their arguments on."""

import sys
from types import SimpleNamespace

import pytest

from dse_hf import cli
from dse_hf.cli import main
from tests.cli.test_separate import failures


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        ([], "required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["separate"], "required: FILE"),
        (["separate", "a.wav", "--format", "xyz"], "'xyz': give wav, w64, "),
        (["separate", "a.wav", "--sources", "a,,b"], "'a,,b': give names separated by commas"),
        (["separate", "a.wav", "--sauces", "a"], "unrecognized arguments"),
        *(
            (["separate", "-", *others], "- does not go with")
            for others in (["a.wav"], ["-o", "out"], ["--json"], ["--format", "flac"], ["-"])
        ),
        (["convert", "a.pth"], "required: OUT"),
    ],
)
def test_usage(arguments, wanted, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert wanted in capsys.readouterr().err


def test_version_and_help_of_all(capsys):
    for arguments, wanted in ((["--version"], "dse-hf 0."), (["--help"], "separate")):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert wanted in capsys.readouterr().out


def test_train_hands_its_arguments_on(monkeypatch):
    given = []
    fake = SimpleNamespace(main=lambda argv: given.append(argv) or 7)
    monkeypatch.setitem(sys.modules, "dse_hf.training.run", fake)
    assert main(["train", "recipe.yaml", "--learning_rate", "1e-4", "--help"]) == 7
    assert given == [["recipe.yaml", "--learning_rate", "1e-4", "--help"]]


def test_train_without_its_libraries(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dse_hf.training.run", None)
    assert main(["train", "recipe.yaml"]) == 1
    (line,) = failures(capsys)
    assert line.endswith("run: pip install 'dse-hf[train]'")


@pytest.mark.parametrize(
    "error", [OSError("Cannot find empty port in range: 80-80."), OverflowError("bind(): port must be 0-65535.")]
)
def test_app_on_a_port_that_cannot_be_had(monkeypatch, capsys, error):
    def launch_app(app, **options):
        raise error

    fake = SimpleNamespace(build_app=lambda: None, launch_app=launch_app)
    monkeypatch.setitem(sys.modules, "dse_hf.app.interface", fake)
    assert main(["app", "--port", "80", "--no-browser"]) == 1
    (line,) = failures(capsys)
    assert line.startswith("--host 127.0.0.1 --port 80: in use or not available; give another port with --port")


def test_convert(monkeypatch, capsys):
    given = []

    def convert_checkpoint(path, out, *, sampling_rate, overwrite):
        given.append((path, out, sampling_rate, overwrite))
        if path == "bad.pth":
            raise ValueError("bad.pth: no tensors; give a state dict")

    monkeypatch.setattr("dse_hf.convert.convert_checkpoint", convert_checkpoint)
    assert main(["convert", "a.pth", "out", "--sampling-rate", "8000", "--overwrite"]) == 0
    assert "dse-hf separate --model out" in capsys.readouterr().out
    assert main(["convert", "bad.pth", "out"]) == 1
    assert failures(capsys) == ["bad.pth: no tensors; give a state dict"]
    assert given == [("a.pth", "out", 8000, True), ("bad.pth", "out", None, False)]


def test_every_command_is_in_the_table():
    assert list(cli.COMMANDS) == ["separate", "clean", "train", "evaluate", "publish", "convert", "export", "app"]


def test_an_error_of_any_command_is_one_line(monkeypatch, capsys):
    for error in (ValueError("a\nb; c"), OSError(28, "No space left")):

        def fail(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr("dse_hf.convert.convert_checkpoint", fail)
        assert main(["convert", "a.pth", "out"]) == 1
    assert failures(capsys) == ["a b; c", "[Errno 28] No space left"]
