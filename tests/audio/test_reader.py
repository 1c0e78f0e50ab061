import io
import os
import struct

import numpy as np
import pytest
import soundfile

from dse_hf.audio import AudioReader, quantize
from dse_hf.audio.formats import FORMATS
from tests.audio.sounds import read, tones, write_av


STORED = {
    "wav": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"],
    "flac": ["PCM_16", "PCM_24"],
    **{"rf64": ["PCM_16"], "w64": ["PCM_24"], "aiff": ["PCM_16"], "au": ["FLOAT"], "caf": ["PCM_16"]},
}


@pytest.mark.parametrize("extension, subtype", [(name, subtype) for name in STORED for subtype in STORED[name]])
def test_stored_samples_are_read_to_the_bit(tmp_path, extension, subtype):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, tones(), 48000, subtype=subtype, format=extension.upper())
    samples, reader = read(path, "float64", block_seconds=0.1)
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float64")[0])
    assert (reader.sampling_rate, reader.channels, reader.frames) == (48000, 2, 24000)
    assert reader.subtype == subtype
    assert reader.seconds == 0.5


def lossy_files(folder):
    """Paths of `tones()` in every lossy or FFmpeg-only format."""
    samples, written = tones(), {}
    for extension in ("ogg", "opus", "mp3"):
        written[extension] = folder / f"a.{extension}"
        entry = FORMATS[extension]
        soundfile.write(written[extension], samples, 48000, format=entry.container, subtype=entry.subtype)
    for extension, codec in (("m4a", "aac"), ("mp4", "aac"), ("mkv", "aac"), ("mov", "aac"), ("aac", "aac")):
        written[extension] = write_av(folder / f"b.{extension}", samples, 48000, codec)
    written["webm"] = write_av(folder / "b.webm", samples, 48000, "libopus", "fltp")
    written["alac.m4a"] = write_av(folder / "c.m4a", samples, 48000, "alac", "s16p")
    written["film.mp4"] = write_av(folder / "film.mp4", samples, 48000, "aac", video=True)
    return written


@pytest.fixture(scope="module")
def lossy(tmp_path_factory):
    return lossy_files(tmp_path_factory.mktemp("lossy"))


@pytest.mark.parametrize(
    "kind", ["ogg", "opus", "mp3", "m4a", "mp4", "mkv", "mov", "aac", "webm", "alac.m4a", "film.mp4"]
)
def test_encoded_audio_is_read_at_its_time(lossy, kind):
    samples, reader = read(lossy[kind])
    wanted = tones()
    assert (reader.sampling_rate, reader.channels) == (48000, 2)
    assert reader.seconds == pytest.approx(0.5, abs=0.1)
    # AAC encoders fill the last frame. A bare .aac does not say that the first frame is to be dropped.
    delay = 1024 if kind == "aac" else 0
    assert 24000 <= len(samples) <= 24000 + 2 * 1024
    error = samples[delay + 2000 :][:20000] - wanted[2000:][:20000]
    assert np.sqrt(np.mean(error**2)) < 0.25 * np.sqrt(np.mean(wanted**2))  # five samples off: 0.26
    if kind == "alac.m4a":
        np.testing.assert_array_equal(samples, quantize(wanted, "PCM_16"))


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("sampling_rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_rates_and_channels(tmp_path, channels, sampling_rate):
    samples = quantize(tones(sampling_rate, 0.01, channels), "PCM_16")
    soundfile.write(tmp_path / "a.wav", samples, sampling_rate, subtype="FLOAT")
    result, reader = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(result, samples)
    assert (reader.sampling_rate, reader.channels) == (sampling_rate, channels)


def test_paths_bytes_files_and_pipes(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tones(), 48000)
    wanted = read(path)[0]
    content = path.read_bytes()
    np.testing.assert_array_equal(read(str(path))[0], wanted)
    np.testing.assert_array_equal(read(content)[0], wanted)
    with open(path, "rb") as file:
        file.read(100)
        np.testing.assert_array_equal(read(file)[0], wanted)
        assert not file.closed
    ours, theirs = os.pipe()
    with open(theirs, "wb") as writer:
        writer.write(content)
    with open(ours, "rb") as file:
        np.testing.assert_array_equal(read(file)[0], wanted)


def test_names_need_not_tell_the_format_nor_be_text(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.raw")
    with open(name, "wb") as file:
        soundfile.write(file, tones(), 48000, format="WAV")
    assert len(read(name)[0]) == 24000


def test_blocks_have_the_length_asked_for_and_fewer_frames_where_channels_are_many(tmp_path):
    soundfile.write(tmp_path / "a.wav", tones(), 48000)
    with AudioReader(tmp_path / "a.wav", block_seconds=0.2) as reader:
        assert [len(block) for block in reader] == [9600, 9600, 4800]
    soundfile.write(tmp_path / "b.wav", np.full((20000, 64), 0.1), 48000)
    with AudioReader(tmp_path / "b.wav") as reader:
        assert max(len(block) for block in reader) == 2**20 // 64


@pytest.mark.parametrize("announced", [0, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_streamed_wav_is_read_to_its_end(announced):
    content = io.BytesIO()
    wanted = quantize(tones(), "PCM_16")
    soundfile.write(content, (wanted * 2**15).astype(np.int16), 48000, format="WAV")
    content = bytearray(content.getvalue())
    content[4:8] = struct.pack("<I", min(announced + 36, 2**32 - 1))
    content[40:44] = struct.pack("<I", announced)
    samples, reader = read(bytes(content))
    np.testing.assert_array_equal(samples, wanted)
    assert reader.subtype == "PCM_16"


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.flac", tones(), 48000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    samples, reader = read(bytes(content))
    assert len(samples) == 24000
    assert reader.frames is None


def test_mp3_without_length_is_read_to_its_end(tmp_path):
    samples = tones(44100, 4, 1) * np.linspace(0, 1, 4 * 44100, dtype=np.float32)[:, None] ** 8
    soundfile.write(tmp_path / "a.mp3", samples, 44100)
    content = (tmp_path / "a.mp3").read_bytes()
    bare = content[content.index(b"\xff\xfb", content.index(b"Xing")) :]
    assert 4.0 <= len(read(bare)[0]) / 44100 < 4.1
    tagged = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + content + b"TAG" + bytes(125)
    assert len(read(tagged)[0]) == 4 * 44100


def test_all_links_of_an_ogg_chain_are_read(lossy):
    content = lossy["ogg"].read_bytes()
    assert len(read(content + content)[0]) == pytest.approx(48000, abs=1024)


def surround_sound(path):
    """Eight channels of sound for a second, each a tone of its own; gives their frequencies in Hz."""
    frequencies = np.array([500, 900, 1300, 50, 2100, 2500, 2900, 3300])  # the fourth has low ones only
    samples = 0.2 * np.sin(2 * np.pi * frequencies * np.arange(16000)[:, None] / 16000)
    write_av(path, samples.astype(np.float32), 16000, "aac", "flt")
    return frequencies


def loudest_frequencies(samples):
    """In Hz, of (frames, channels) at 16 kHz."""
    second = samples[:16000] * np.hanning(16000)[:, None]
    return np.abs(np.fft.rfft(second, axis=0)).argmax(axis=0)


def test_eight_channels_are_read(tmp_path):
    """PyAV 18 expects a null pointer after the planes of a frame. With eight channels there is none: it crashes."""
    frequencies = surround_sound(tmp_path / "film.m4a")
    samples, reader = read(tmp_path / "film.m4a")
    assert reader.channels == 8 and samples.shape[1] == 8
    np.testing.assert_allclose(loudest_frequencies(samples), frequencies, atol=2)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(samples[4000:12000]), axis=0)), 0.2 / np.sqrt(2), rtol=0.2)


def test_the_pipeline_reads_eight_channels(tmp_path):
    from dse_hf.models.pipeline_audio_to_audio import _decode

    frequencies = surround_sound(tmp_path / "film.m4a")
    samples, rate = _decode((tmp_path / "film.m4a").read_bytes())
    assert rate == 16000
    np.testing.assert_array_equal(samples, read(tmp_path / "film.m4a")[0].T)
    np.testing.assert_allclose(loudest_frequencies(samples.T), frequencies, atol=2)
