"""`dse-hf separate` with folders, wildcards and batches that are continued."""

import io
import json
import os
import sys

import numpy as np
import pytest
import soundfile

from dse_hf import WaveUNetConfig, WaveUNetModel
from dse_hf.audio import AudioWriter
from dse_hf.cli import main
from tests.audio.sounds import tones


RATE = 8000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a tiny model."""
    folder = tmp_path_factory.mktemp("model")
    config = WaveUNetConfig(num_layers=2, channel_growth=4, padding="same", sampling_rate=RATE)
    WaveUNetModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def separate(model, tmp_path, monkeypatch, capsys):
    """Runs `dse-hf separate` in an empty folder. Returns its exit status and the lines of stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main(["separate", *arguments, "--model", model, "--sources", "foreground"])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err.splitlines()

    return run


def write(*names, seconds=0.1):
    for name in names:
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        soundfile.write(name, tones(RATE, seconds, 1), RATE)


def tree(folder):
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder) for parent, _, files in os.walk(folder) for name in files
    )


def test_a_folder_gives_its_tree(separate):
    write("talks/b.wav", "talks/day 1/a.flac", "talks/day 1/late/C.WAV", "talks/.hidden/d.wav", "talks/.e.wav")
    for name in ("talks/notes.txt", "talks/day 1/cover.jpg", "talks/README"):
        open(name, "w").close()
    status, output, complaints = separate("talks", "-o", "out")
    assert (status, complaints) == (0, [])
    assert tree("out") == ["b.foreground.wav", "day 1/a.foreground.wav", "day 1/late/C.foreground.wav"]
    assert output[-1].startswith("3 files separated, 0.3 s of sound in ")
    assert output[-1].endswith("; 3 skipped: 1 not audio (no suffix), 1 not audio (.txt), 1 not audio (.jpg)")


def test_a_folder_without_output_folder_may_be_separated_again(separate):
    write("talks/a.wav", "talks/other.foreground.wav")  # the second is a recording: there is no other.wav
    assert separate("talks")[0] == 0
    assert tree("talks") == [
        *("a.foreground.wav", "a.wav", "other.foreground.foreground.wav", "other.foreground.wav"),
    ]
    status, output, complaints = separate("talks", "--overwrite")
    assert (status, complaints) == (0, []) and len(tree("talks")) == 4
    assert output[-1].endswith("; 2 skipped: 2 result of another file")


def test_results_in_the_folder_are_no_recordings(separate):
    write("a.wav")
    for _ in range(2):
        assert separate(".", "-o", "out", "--overwrite")[0] == 0
        assert tree(".") == ["a.wav", "out/a.foreground.wav"]


def test_wildcards_that_the_shell_left(separate):
    write("a.wav", "b.wav", "c.flac", "deep/d.wav", "x[1].wav")
    assert separate("?.wav", "**/d.wav", "x[1].wav", "-o", "out")[0] == 0
    assert tree("out") == [f"{stem}.foreground.wav" for stem in ("a", "b", "d", "x[1]")]
    status, _, complaints = separate("*.mp3")
    assert status == 1 and complaints == ["dse-hf: *.mp3: no file has such a name; check the wildcards"]


def test_a_folder_that_may_not_be_read_does_not_stop_the_others(separate, monkeypatch):
    write("talks/a.wav", "talks/closed/b.wav")
    scandir = os.scandir

    def scan(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    status, _, complaints = separate("talks", "-o", "out")
    assert status == 1 and tree("out") == ["a.foreground.wav"]
    assert complaints == ["dse-hf: talks/closed: permission denied; check its rights and those of its folder"]


def test_a_batch_goes_on_where_it_stopped(separate, monkeypatch):
    files = [f"talks/{name}.wav" for name in "abcde"]
    write(*files, seconds=1)
    written, write_block = [], AudioWriter.write

    def killed(writer, block):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(writer.path.name)
        write_block(writer, block)

    with monkeypatch.context() as patch:
        patch.setattr(AudioWriter, "write", killed)
        assert separate("talks", "-o", "out")[0] == 130
    assert tree("out") == ["a.foreground.wav", "b.foreground.wav"]
    before = os.stat("out/a.foreground.wav").st_mtime_ns
    # A result that is too short, and one that is older than its recording, are made again.
    soundfile.write("out/b.foreground.wav", np.zeros(RATE // 2), RATE)
    write("out/c.foreground.wav", seconds=1)
    os.utime("out/c.foreground.wav", (1, 1))
    status, output, complaints = separate("talks", "-o", "out", "--skip-existing")
    assert (status, complaints) == (0, []) and len(tree("out")) == 5
    assert output[-1].startswith("4 files separated, ") and output[-1].endswith("; 1 skipped: 1 done before")
    assert os.stat("out/a.foreground.wav").st_mtime_ns == before
    assert soundfile.info("out/b.foreground.wav").frames == RATE
    assert separate("talks", "-o", "out", "--skip-existing")[1][-1].startswith("0 files separated")


def test_of_two_runs_into_one_folder_each_result_has_one(separate, model, monkeypatch):
    write("x/a.wav")
    write("y/a.wav", seconds=0.2)
    write_block = AudioWriter.write

    def meet(writer, block):
        monkeypatch.setattr(AudioWriter, "write", write_block)
        assert main(["separate", "y/a.wav", "-o", "out", "--model", model, "--sources", "foreground"]) == 0
        write_block(writer, block)

    monkeypatch.setattr(AudioWriter, "write", meet)
    status, _, complaints = separate("x/a.wav", "-o", "out")
    assert status == 1
    assert complaints == [
        "dse-hf: x/a.wav: out/a.foreground.wav: exists; pass --overwrite (overwrite=True) to replace it"
    ]
    assert tree("out") == ["a.foreground.wav"] and soundfile.info("out/a.foreground.wav").frames == RATE // 5


def test_json_tells_what_was_skipped(separate):
    write("talks/a.wav", "talks/b.wav")
    open("talks/notes.txt", "w").close()
    separate("talks/a.wav", "-o", "out")
    _, output, _ = separate("talks", "-o", "out", "--skip-existing", "--json")
    lines = [json.loads(line) for line in output]
    assert [(line["input"], line.get("skipped")) for line in lines] == [
        ("talks/notes.txt", "not audio (.txt)"),
        ("talks/a.wav", "done before"),
        ("talks/b.wav", None),
    ]


def test_one_bar_for_all_files(separate, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    write("a.wav", "b.wav", seconds=1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    separate("a.wav", "b.wav", "-o", "out")
    screen = sys.stderr.getvalue()
    assert "a.wav (2 files):  50% |" in screen and "b.wav (2 files): 100% |" in screen and " left" in screen


def test_options_that_contradict_each_other(separate):
    with pytest.raises(SystemExit) as stop:
        separate("a.wav", "--overwrite", "--skip-existing")
    assert stop.value.code == 2


def test_without_the_package_for_tags_the_sound_comes_and_a_note_tells_it_once(separate, monkeypatch):
    write("a.flac", "b.flac")
    monkeypatch.setitem(sys.modules, "mutagen", None)
    status, _, complaints = separate("a.flac", "b.flac", "-o", "out", "--format", "flac")
    assert status == 0 and tree("out") == ["a.foreground.flac", "b.foreground.flac"]
    assert complaints == [
        "dse-hf: a.flac: tags and covers need mutagen to be carried over; run: pip install 'dse-hf[tags]'"
    ]
