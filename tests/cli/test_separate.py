import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from dse_hf import WaveUNetConfig, WaveUNetModel, cli
from dse_hf.cli import main
from dse_hf.cli import separate as cli_separate
from tests.audio.sounds import tones, write_av


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a tiny model."""
    folder = tmp_path_factory.mktemp("model")
    config = WaveUNetConfig(num_layers=2, channel_growth=4, padding="same", sampling_rate=16000)
    WaveUNetModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, seconds=1.0, channels=1, sampling_rate=16000):
    soundfile.write(name, tones(sampling_rate, seconds, channels), sampling_rate)
    return name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failures(capsys):
    """The lines on stderr, one for each failure."""
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("dse-hf: ") for line in lines)
    return [line.removeprefix("dse-hf: ") for line in lines]


# ── Files ──


def test_files_of_many_kinds(folder, model, capsys):
    write("noisy.wav", channels=2, sampling_rate=44100)
    write("eight.flac", channels=8, sampling_rate=48000)
    write_av("phone.m4a", tones(48000, 1), 48000, "aac")
    write_av("film.mp4", tones(48000, 0.5), 48000, "aac", video=True)
    soundfile.write("one.wav", [0.5], 16000)
    files = ["noisy.wav", "eight.flac", "phone.m4a", "film.mp4", "one.wav"]
    assert main(["separate", *files, "-o", "out/here", "--model", model]) == 0
    assert names(folder / "out/here") == sorted(
        f"{file.split('.')[0]}.{source}.wav" for file in files for source in ("foreground", "background")
    )
    for file in ("noisy.wav", "eight.flac", "one.wav"):
        samples, rate = soundfile.read(file)
        parts = [
            soundfile.read(f"out/here/{file.split('.')[0]}.{source}.wav") for source in ("foreground", "background")
        ]
        np.testing.assert_array_equal(parts[0][0] + parts[1][0], samples)
        assert parts[0][1] == rate
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert len(lines) == 1 + 2 * len(files) + 1 and lines[-1].startswith("5 files separated, 3.5 s of sound in ")
    assert lines[0] == f"model {model}: a folder"
    assert lines[1].startswith("noisy.wav: 1.0 s of 2 channels at 44100 Hz in ")
    assert "out/here/noisy.foreground.wav (-" in lines[2]


def test_best_takes_each_sound_twice(folder, model, capsys):
    name = write("noisy.wav", 0.5)

    def foreground(*options):
        assert main(["separate", name, "--overwrite", "--quiet", *options]) == 0
        return soundfile.read("noisy.foreground.wav")[0]

    torch.manual_seed(0)
    twice = WaveUNetModel(WaveUNetConfig(num_layers=2, channel_growth=4, padding="same", sampling_rate=16000))
    for parameter in twice.parameters():  # new biases are 0, and then both polarities give the same
        parameter.data += 0.1 * torch.randn_like(parameter)
    twice.config.average_polarity_flip = True
    twice.save_pretrained("twice")
    twice.config.average_polarity_flip = False
    twice.save_pretrained("once")
    capsys.readouterr()  # drops what transformers prints
    once = foreground("--model", "once")
    np.testing.assert_array_equal(foreground("--model", "twice"), once)
    np.testing.assert_array_equal(foreground("--model", "twice", "--fast"), once)  # the old option
    assert np.abs(foreground("--model", "twice", "--best") - once).max() > 1e-3
    assert not failures(capsys)
    foreground("--model", "once", "--best")
    assert failures(capsys) == ["--best changes nothing: model 'once' is not made for it"]


def test_results_lie_beside_each_file_and_may_be_chosen(folder, model):
    (folder / "in").mkdir()
    write("in/noisy.wav")
    assert main(["separate", "in/noisy.wav", "--model", model, "--sources", "foreground", "--format", "flac"]) == 0
    assert names(folder / "in") == ["noisy.foreground.flac", "noisy.wav"]


def test_other_files_are_done_when_some_fail(folder, model, capsys):
    write("good.wav")
    write("also.wav")
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("dear diary\n")
    (folder / "short.wav").write_bytes((folder / "good.wav").read_bytes()[:-1000])
    write_av("film.mp4", tones(), 48000, None, video=True)
    (folder / "music").mkdir()
    bad = ["empty.wav", "text.wav", "short.wav", "film.mp4", "music", "missing.wav"]
    files = [name for pair in zip(bad, ["good.wav", "also.wav", *[None] * 4]) for name in pair if name]
    assert main(["separate", *files, "-o", "out", "--model", model]) == 1
    assert names(folder / "out") == [
        f"{stem}.{source}.wav" for stem in ("also", "good") for source in ("background", "foreground")
    ]
    lines = failures(capsys)
    assert sorted(line.split(": ")[0] for line in lines) == sorted(bad)
    told = dict(line.split(": ", 1) for line in lines)
    assert told["film.mp4"].startswith("has no audio track")
    assert told["music"].startswith("holds no audio files; give a folder with files of wav, ")
    assert told["missing.wav"].startswith("no such file")
    assert all("; " in line for line in lines)


def test_files_that_are_not_there_fail_before_a_model_is_loaded(folder, monkeypatch, capsys):
    monkeypatch.setattr(cli_separate, "_load_model", None)
    assert main(["separate", "missing.wav", "."]) == 1
    assert len(failures(capsys)) == 2


def test_same_file_twice_is_refused_once(folder, model, capsys):
    write("a.wav")
    os.symlink("a.wav", "link.wav")
    assert main(["separate", "a.wav", "./a.wav", "link.wav", "-o", "out", "--model", model]) == 1
    assert [line.split(";")[0] for line in failures(capsys)] == ["./a.wav: given twice", "link.wav: given twice"]
    assert names(folder / "out") == ["a.background.wav", "a.foreground.wav"]


def test_results_never_replace_inputs_or_each_other(folder, model, capsys):
    for name in ("a.wav", "a.flac", "b.wav", "b.foreground.wav"):
        write(name)
    (folder / "sub").mkdir()
    write("sub/a.wav", 0.5)
    before, advice = (folder / "b.foreground.wav").read_bytes(), "separate it into another folder (-o)"
    files = ["a.wav", "a.flac", "b.wav", "b.foreground.wav"]
    assert main(["separate", *files, "--model", model, "--overwrite"]) == 1
    assert failures(capsys) == [
        f"a.flac: its result a.foreground.wav would replace the result of a.wav; {advice}",
        f"b.wav: its result b.foreground.wav would replace the input b.foreground.wav; {advice}",
    ]
    assert (folder / "b.foreground.wav").read_bytes() == before
    assert main(["separate", "a.wav", "sub/a.wav", "-o", "out", "--model", model]) == 1
    assert [line.split(":")[0] for line in failures(capsys)] == ["sub/a.wav"]
    assert soundfile.info("out/a.foreground.wav").frames == 16000


def test_existing_results_need_overwrite(folder, model, capsys):
    write("a.wav")
    (folder / "a.background.wav").write_text("mine")
    arguments = ["separate", "a.wav", "--model", model]
    assert main(arguments) == 1
    assert failures(capsys) == [
        "a.wav: a.background.wav: exists; pass --overwrite (overwrite=True) to replace it, or --skip-existing"
    ]
    assert names(folder) == ["a.background.wav", "a.wav"]
    assert main([*arguments, "--overwrite"]) == 0
    assert soundfile.info("a.background.wav").frames == 16000


def test_json_lines(folder, model, capsys):
    write("a.wav", channels=2)
    assert main(["separate", "a.wav", "missing.wav", "-o", "out", "--model", model, "--json"]) == 1
    output = capsys.readouterr()
    failed, done = [json.loads(line) for line in output.out.splitlines()]
    assert failed == {"input": "missing.wav", "error": output.err.strip().removeprefix("dse-hf: ")}
    assert done["input"] == "a.wav"
    assert done["model"] == f"model {model}: a folder"
    assert done["outputs"] == {"foreground": "out/a.foreground.wav", "background": "out/a.background.wav"}
    assert (done["sampling_rate"], done["channels"], done["frames"], done["seconds"]) == (16000, 2, 16000, 1)
    assert set(done["levels"]) == {"foreground", "background"}


def test_quiet(folder, model, capsys):
    write("a.wav")
    assert main(["separate", "a.wav", "--model", model, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_progress_bar_is_for_terminals(folder, model, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    write("a.wav", 2)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["separate", "a.wav", "--model", model]) == 0
    assert "a.wav: 100% |" in screen.getvalue()
    assert "2 of 2 s, " in screen.getvalue()
    assert "x real time" in screen.getvalue()


def test_names_that_are_no_text(folder, model, capsys):
    name = os.fsdecode(b"a\xff\n.wav")
    write(name.encode(errors="surrogateescape"))
    assert main(["separate", name, os.fsdecode(b"b\xff.wav"), "--model", model]) == 1
    assert os.fsdecode(b"a\xff\n.foreground.wav") in os.listdir()
    assert failures(capsys) == ["b\\udcff.wav: no such file or folder; check the name"]


# ── Standard input and output ──


class StandardInput(io.BufferedReader):
    name = "<stdin>"


def pipes(monkeypatch, content):
    """Replaces standard input by a pipe with this content, and standard output by the file that is returned."""
    written = io.BytesIO()
    read_end, write_end = os.pipe()

    def feed():
        with open(write_end, "wb") as file:
            file.write(content)

    threading.Thread(target=feed).start()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=StandardInput(io.FileIO(read_end))))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=written, isatty=lambda: False))
    return written


def test_pipe(folder, model, monkeypatch, capsys):
    write("a.wav", channels=2)
    main(["separate", "a.wav", "--model", model, "-o", "out", "--quiet"])
    written = pipes(monkeypatch, (folder / "a.wav").read_bytes())
    assert main(["separate", "-", "--model", model]) == 0
    assert written.getvalue() == (folder / "out/a.foreground.wav").read_bytes()
    assert capsys.readouterr().err.startswith("standard input: 1.0 s of 2 channels")
    assert names(folder) == ["a.wav", "out"]


def test_pipe_without_audio(folder, model, monkeypatch, capsys):
    written = pipes(monkeypatch, b"dear diary")
    assert main(["separate", "-", "--model", model]) == 1
    assert written.getvalue() == b""
    (line,) = failures(capsys)
    assert ": not an audio format" in line


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_pipe_that_is_closed(folder, monkeypatch, capsys, name):
    monkeypatch.setattr(cli_separate, "_load_model", None)
    pipes(monkeypatch, b"")
    monkeypatch.setattr(sys, name, None)  # as Python does for <&- and >&-
    assert main(["separate", "-"]) == 1
    (line,) = failures(capsys)
    assert line.startswith("-: standard input or output is closed; use ")


# ── Arguments ──


def test_source_that_the_model_does_not_have(folder, model, capsys):
    write("a.wav")
    with pytest.raises(SystemExit) as stop:
        main(["separate", "a.wav", "--model", model, "--sources", "vocals"])
    assert stop.value.code == 2
    assert "source 'vocals': this model gives foreground, background" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        (["--model", "waveunet-speech-16kHz"], "model 'waveunet-speech-16kHz': no such model"),
        (["--model", "nobody/nothing"], "model 'nobody/nothing': the Hub cannot be reached"),
        (["--device", "teapot"], "device 'teapot': not available"),
    ],
)
def test_model_that_cannot_be_had(folder, arguments, wanted, capsys):
    write("a.wav")
    assert main(["separate", "a.wav", *arguments]) == 1
    (line,) = failures(capsys)
    assert line.startswith(wanted)
    assert names(folder) == ["a.wav"]


# ── Interruption ──


@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_leave_no_partial_file(folder, model, monkeypatch, capsys, name, status):
    from dse_hf.audio import AudioWriter

    if not hasattr(signal, name):
        pytest.skip("POSIX")
    number = getattr(signal, name)
    write("a.wav")
    write_block = AudioWriter.write

    def interrupted(writer, block):
        write_block(writer, block)
        assert any(name.endswith(".part") for name in os.listdir())
        signal.raise_signal(number)

    monkeypatch.setattr(AudioWriter, "write", interrupted)
    arguments = ["separate", "a.wav", "--model", model]
    # The process of the tests may ignore signals, as nohup and background jobs of a shell do.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    previous = signal.signal(number, usual)
    try:
        if number == signal.SIGINT:
            assert main(arguments) == status
            assert failures(capsys) == ["interrupted; unfinished files were removed"]
        else:
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            assert stop.value.code == status
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, previous)
    assert names(folder) == ["a.wav"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_interrupted_process_keeps_what_is_complete(folder, model):
    write("a.wav")
    write("long.wav", 600)
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-m", "dse_hf", "separate", "a.wav", "missing.wav", "long.wav", "--model", model]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not any(name.startswith(".long.") for name in names(folder)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaints.splitlines() == [
        "dse-hf: missing.wav: no such file or folder; check the name",
        "dse-hf: what is finished stays; the same command with --skip-existing goes on",
        "dse-hf: interrupted; unfinished files were removed",
    ]
    assert output.splitlines()[1].startswith("a.wav: 1.0 s of 1 channel at 16000 Hz")
    assert names(folder) == ["a.background.wav", "a.foreground.wav", "a.wav", "long.wav"]


def test_a_silent_track_of_a_batch_is_a_track(folder, model, capsys):
    soundfile.write("muted.wav", np.zeros(16000), 16000)
    write("good.wav")
    assert main(["separate", "muted.wav", "good.wav", "-o", "out", "--model", model]) == 0
    assert not soundfile.read("out/muted.foreground.wav")[0].any()
    assert failures(capsys) == ["muted.wav: is silent, and so are its results; check the recording"]


def test_some_of_the_background_may_stay(folder, model, capsys):
    write("a.wav")
    assert main(["separate", "a.wav", "-o", "all", "--model", model, "--background-db", "0"]) == 0
    mixture, found = (soundfile.read(path)[0] for path in ("a.wav", "all/a.foreground.wav"))
    np.testing.assert_allclose(found, mixture, atol=1e-4)
    with pytest.raises(SystemExit):
        main(["separate", "a.wav", "--model", model, "--background-db", "3"])
    assert "--background-db 3: give 0 or less" in capsys.readouterr().err
