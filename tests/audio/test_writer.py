import numpy as np
import pytest
import soundfile

from dse_hf.audio import AudioError, AudioWriter, output_format, quantize
from dse_hf.audio import writer as writer_module
from tests.audio.sounds import read, tones


# Format of the output → sample format of the input → sample format of the output.
WRITTEN = {
    "wav": {
        **{subtype: subtype for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")},
        **dict.fromkeys(("PCM_U8", "VORBIS", "AAC"), "PCM_16"),
    },
    "flac": {"PCM_16": "PCM_16", "FLOAT": "PCM_24", "PCM_32": "PCM_24"},
    **{"ogg": {"FLOAT": "VORBIS"}, "opus": {"PCM_16": "OPUS"}, "mp3": {"PCM_16": "MPEG_LAYER_III"}},
}


@pytest.mark.parametrize(
    "file_format, input_subtype, wanted", [(name, *pair) for name in WRITTEN for pair in WRITTEN[name].items()]
)
def test_sample_format_of_the_output(tmp_path, file_format, input_subtype, wanted):
    assert output_format(file_format, input_subtype)[1] == wanted
    path = tmp_path / f"a.{file_format}"
    with AudioWriter(path, 48000, 2, input_subtype=input_subtype) as writer:
        writer.write(tones())
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.channels, info.frames) == (wanted, 48000, 2, 24000)


@pytest.mark.parametrize("bits, dtype", [(16, "float32"), (24, "float32"), (32, "float64")])
def test_integers_are_written_to_the_bit_and_clipped(tmp_path, bits, dtype):
    scale = 2 ** (bits - 1)
    integers = np.random.default_rng(0).integers(-scale, scale, (1000, 2))
    integers[:2] = [[-scale, scale - 1], [1, -1]]
    with AudioWriter(tmp_path / "a.wav", 16000, 2, input_subtype=f"PCM_{bits}") as writer:
        writer.write((integers / scale).astype(dtype))
        writer.write(np.array([[1.5, -1.5]], dtype))
    written = soundfile.read(tmp_path / "a.wav", dtype="int32")[0].astype(np.int64) >> (32 - bits)
    np.testing.assert_array_equal(written[:-1], integers)
    np.testing.assert_array_equal(written[-1], [scale - 1, -scale])


def test_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a.wav"
    with AudioWriter(path, 16000, 1) as writer:
        writer.write(tones(16000, 1, 1))
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [path]
    before = path.read_bytes()
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), AudioWriter(path, 16000, 1, overwrite=True) as writer:
            writer.write(tones(16000, 0.1, 1))
            raise error
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == before


def test_existing_file_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("mine")
    with pytest.raises(AudioError, match="exists; pass --overwrite"):
        AudioWriter(path, 16000, 1)
    assert path.read_text() == "mine"
    with AudioWriter(path, 16000, 1, overwrite=True) as writer:
        writer.write(tones(16000, 0.1, 1))
    assert soundfile.info(path).frames == 1600


@pytest.mark.parametrize(
    "name, sampling_rate, channels, wanted",
    [
        ("a.xyz", 16000, 1, "format 'xyz' cannot be written; choose one of wav"),
        ("a.mp3", 16000, 3, "mp3 cannot hold 3 channels at 16000 Hz; choose wav"),
        ("a.mp3", 96000, 2, "mp3 cannot hold 2 channels at 96000 Hz"),
        ("a.opus", 44100, 1, "opus cannot hold 1 channels at 44100 Hz"),
        ("a.ogg", 768000, 1, "ogg cannot hold 1 channels at 768000 Hz"),
        ("a.flac", 16000, 9, "flac cannot hold 9 channels at 16000 Hz"),
        ("missing/a.wav", 16000, 1, "no such file or folder"),
        ("file/a.wav", 16000, 1, "a file stands where a folder is needed"),
        ("folder.wav", 16000, 1, "is a folder"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, sampling_rate, channels, wanted):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.wav").mkdir()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(AudioError, match=wanted) as error:
        AudioWriter(tmp_path / name, sampling_rate, channels)
    assert "\n" not in str(error.value)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("limit", [100, 3000])
def test_full_disk_leaves_nothing(tmp_path, extension, limit):
    resource = pytest.importorskip("resource")  # Windows has none
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).normal(0, 0.1, (48000, 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with (
            pytest.raises(AudioError, match=r"completely|cannot hold") as error,
            AudioWriter(tmp_path / f"a.{extension}", 48000, 1) as writer,
        ):
            # Little audio, so that some encoders write nothing before they are closed.
            writer.write(noise if limit > 100 else noise[:1000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_long_wav_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_WAV_LIMIT", 10_000)
    samples = tones(16000, 1, 1)
    with AudioWriter(tmp_path / "a.wav", 16000, 1, seconds=1) as writer:
        writer.write(samples)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], quantize(samples, "PCM_16"))
    too_long = pytest.raises(AudioError, match="longer than the 4 GB of a wav")
    with too_long, AudioWriter(tmp_path / "b.wav", 16000, 1) as writer:
        writer.write(samples)
    assert not (tmp_path / "b.wav").exists()
