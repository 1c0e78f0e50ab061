"""A new audio format is one entry in the table: it is found in all places that read and write files."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from dse_hf import WaveUNetConfig, WaveUNetModel, separate_file
from dse_hf.audio import AudioError, AudioWriter, formats, quantize
from dse_hf.cli import main
from dse_hf.data import decode_clip, load_split
from tests.audio.sounds import read, tones, write_av


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(formats.FORMATS, "au", formats.AudioFormat("Sun AU", ("au",), (b".snd",), container="AU"))


@pytest.fixture
def model():
    return WaveUNetModel(WaveUNetConfig(num_layers=1, channel_growth=2, sampling_rate=16000)).eval()


def test_it_is_written_and_read(toy, tmp_path):
    samples = quantize(tones(), "PCM_24")
    with AudioWriter(tmp_path / "a.au", 48000, 2, input_subtype="PCM_24") as writer:
        writer.write(samples)
    assert soundfile.info(tmp_path / "a.au").format == "AU"
    found, reader = read(tmp_path / "a.au")
    np.testing.assert_array_equal(found, samples)
    assert reader.subtype == "PCM_24"


def test_it_is_separated_into(toy, tmp_path, model):
    soundfile.write(tmp_path / "a.wav", tones(16000), 16000)
    result = separate_file(model, tmp_path / "a.wav", file_format="au")
    assert {Path(path).name for path in result.outputs.values()} == {"a.foreground.au", "a.background.au"}
    total = sum(soundfile.read(path, dtype="int16")[0].astype(int) for path in result.outputs.values())
    np.testing.assert_array_equal(total, soundfile.read(tmp_path / "a.wav", dtype="int16")[0])


def test_a_format_with_a_muxer_is_written_for_inputs_of_the_format(monkeypatch, tmp_path, model):
    monkeypatch.setitem(formats.FORMATS, "mk3d", formats.AudioFormat("3D", ("matroska",), muxer="matroska"))
    write_av(tmp_path / "a.mkv", tones(), 48000, "aac", video=True).rename(tmp_path / "a.mk3d")
    output = separate_file(model, tmp_path / "a.mk3d", file_format="same").outputs["foreground"]
    assert Path(output).name == "a.foreground.mk3d"
    with av.open(output) as film:
        assert film.format.name == "matroska,webm" and [stream.type for stream in film.streams] == ["video", "audio"]


def test_it_is_offered_on_the_command_line(toy, tmp_path, model, capsys):
    model.save_pretrained(tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", tones(16000), 16000)
    arguments = ["separate", str(tmp_path / "a.wav"), "--format", "au", "--model", str(tmp_path / "model"), "--quiet"]
    assert main(arguments) == 0
    assert soundfile.info(tmp_path / "a.foreground.au").frames == 8000
    with pytest.raises(SystemExit):
        main(["separate", "--help"])
    assert "Sun AU" in capsys.readouterr().out


def test_error_messages_list_it(toy, tmp_path):
    (tmp_path / "a.txt").write_text("dear diary")
    with pytest.raises(AudioError, match=r"give one of wav, .*, mkv, au"):
        read(tmp_path / "a.txt")
    with pytest.raises(AudioError, match=r"cannot be written; choose one of wav, .*, mp3, au"):
        AudioWriter(tmp_path / "a.mp4", 16000, 1)


def test_folders_of_datasets_are_searched_for_every_format_of_the_table(toy, tmp_path):
    folder = tmp_path / "train" / "sub"
    folder.mkdir(parents=True)
    for suffix, entry in formats.FORMATS.items():
        path = folder / f"a.{suffix.upper() if suffix == 'flac' else suffix}"
        if entry.container:
            soundfile.write(path, tones(), 48000, format=entry.container, subtype=entry.subtype)
        else:
            video = entry.is_video and suffix != "webm"  # where FFmpeg writes no MPEG-4
            write_av(path, tones(), 48000, "libopus" if suffix == "webm" else "aac", video=video)
    (folder / "a.txt").write_text("dear diary")
    rows = load_split(str(tmp_path), "train")
    assert {Path(row["audio"]["path"]).suffix[1:].lower() for row in rows} == set(formats.FORMATS)
    for row in rows:
        samples = decode_clip(row["audio"], 16000, channels=2)
        assert samples.shape == (2, pytest.approx(8000, abs=700)), row["audio"]["path"]
        error = samples[:, 1000:7000] - tones(16000).T[:, 1000:7000]
        assert np.sqrt(np.mean(error**2)) < 0.1, row["audio"]["path"]
