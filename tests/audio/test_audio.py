import errno
import io
import os
import resource
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from dse_hf.audio import AudioError, AudioReader, AudioWriter, Resampler, output_format, quantize
from dse_hf.audio import writer as audio_encoders


def tones(sampling_rate=48000, seconds=0.5, channels=2, level=0.3):
    """A tone of another pitch in every channel, (frames, channels)."""
    time = np.arange(round(seconds * sampling_rate))[:, None] / sampling_rate
    return (level * np.sin(2 * np.pi * 200 * (1 + np.arange(channels)) * time)).astype(np.float32)


def write_av(path, samples, sampling_rate, codec, sample_format="fltp", options=None, video=False):
    """Encodes samples (frames, channels) with FFmpeg."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    if sample_format == "s16p":
        samples = np.round(samples * 2**15).astype(np.int16)
    with av.open(str(path), "w", options=options or {}) as container:
        if video:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 32
        if codec is not None:
            stream = container.add_stream(codec, rate=sampling_rate)
            stream.layout = layout
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), sample_format, layout)
            frame.sample_rate, frame.pts, frame.time_base = sampling_rate, 0, Fraction(1, sampling_rate)
            container.mux([*stream.encode(frame), *stream.encode(None)])
        if video:
            for _ in range(10):
                container.mux(pictures.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(pictures.encode(None))
    return path


def read(source, dtype="float32", **kwargs):
    with AudioReader(source, **kwargs) as reader:
        return np.concatenate(list(reader.blocks(dtype))), reader


# ── Reading ──


@pytest.mark.parametrize(
    "extension, subtype",
    [
        ("wav", "PCM_U8"),
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "PCM_32"),
        ("wav", "FLOAT"),
        ("wav", "DOUBLE"),
        ("wav", "ULAW"),
        ("rf64", "PCM_16"),
        ("w64", "PCM_24"),
        ("aiff", "PCM_16"),
        ("au", "FLOAT"),
        ("caf", "PCM_16"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
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
    for extension, container, subtype in (
        ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ):
        written[extension] = folder / f"a.{extension}"
        soundfile.write(written[extension], samples, 48000, format=container, subtype=subtype)
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
    # Encoders of AAC fill the last frame up; in a bare .aac nothing tells that a first one is to be dropped.
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


# ── What cannot be read ──


def wav_bytes(samples, sampling_rate=16000, **kwargs):
    content = io.BytesIO()
    soundfile.write(content, samples, sampling_rate, format="WAV", **kwargs)
    return content.getvalue()


def one_line(error) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "content, wanted",
    [
        (b"", "empty, 0 bytes"),
        (b"R", "not an audio format"),
        (b"dear diary\n" * 100, "not an audio format"),
        (bytes(1000), "not an audio format"),
        (b"RIFF\x00\x00\x00\x00WAVE", "not an audio format|damaged"),
        (np.random.default_rng(0).bytes(20000), "not an audio format"),
        (wav_bytes(np.zeros((0, 1))), "no samples"),
        (wav_bytes(np.zeros(100), 999), "999 Hz; give audio of 1000 to 768000 Hz"),
        (wav_bytes(np.zeros(100), 768001), "768001 Hz"),
        (wav_bytes(np.zeros((100, 65))), "65 channels; give at most 64"),
        (wav_bytes(np.zeros(16000))[:20000], "at 0.6 s of 1.0 s"),
        (wav_bytes(np.zeros(16000))[:-10], "breaks off"),
    ],
)
def test_unreadable_content_is_told_in_one_line(tmp_path, content, wanted):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=wanted) as error:
        read(path)
    assert one_line(error).startswith(f"{path}: ")
    assert ";" in one_line(error)


def test_a_header_that_points_before_the_file_is_told_without_a_traceback(tmp_path, capfd):
    content = bytearray(write_av(tmp_path / "a.asf", tones(), 48000, "ac3").read_bytes())
    content[44:52] = bytes(7) + b"\x80"
    (tmp_path / "a.asf").write_bytes(content)
    with pytest.raises(AudioError, match="not an audio format that can be read, or damaged"):
        read(tmp_path / "a.asf")
    assert capfd.readouterr().err == ""


def test_content_that_points_before_its_start_is_told_without_a_traceback(tmp_path, capfd):
    soundfile.write(tmp_path / "a.aiff", tones(), 48000)
    content = bytearray((tmp_path / "a.aiff").read_bytes())
    content[31:39] = b"\x80" + bytes(7)
    with pytest.raises(AudioError):
        read(bytes(content))
    assert capfd.readouterr().err == ""


def test_a_track_that_begins_in_the_middle_is_told(tmp_path):
    content = bytearray(write_av(tmp_path / "a.ts", tones(seconds=3), 48000, "aac").read_bytes())
    for packet in range(len(content) // 2 // 188 * 188, len(content), 188):
        if content[packet + 1] & 31 == 1 and content[packet + 2] == 0:  # of track 0x100
            content[packet + 2] = 1
    with pytest.raises(AudioError, match=r"breaks off or is damaged at 1\.5 s"):
        read(bytes(content))


@pytest.mark.parametrize("works", [0, 1000, 12000])
def test_a_disk_that_fails_is_told(tmp_path, works):
    class Failing(io.BytesIO):
        name = "a.mkv"

        def read(self, size=-1):
            if self.tell() + size > works:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    content = write_av(tmp_path / "a.mkv", tones(seconds=3), 48000, "aac").read_bytes()
    assert len(content) > 20000
    with pytest.raises(AudioError, match=r"a\.mkv: input/output error; check the disk"):
        read(Failing(content))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(AudioError, match="no such file") as error:
        AudioReader(tmp_path / "a.wav")
    assert one_line(error).startswith(f"{tmp_path / 'a.wav'}: ")
    with pytest.raises(AudioError, match=r"is a folder; name the files in it"):
        AudioReader(tmp_path)
    with pytest.raises(AudioError, match="a file stands where a folder is needed"):
        AudioReader(__file__ + "/a.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav_bytes(np.zeros(10)))
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(AudioError, match="permission denied"):
        AudioReader(tmp_path / "a.wav")


def test_pictures_without_sound(tmp_path):
    path = write_av(tmp_path / "a.mp4", tones(), 48000, None, video=True)
    with pytest.raises(AudioError, match="no audio track"):
        AudioReader(path)


def test_playlists_are_not_followed(tmp_path):
    soundfile.write(tmp_path / "secret.wav", tones(), 48000)
    for name, content in (
        ("a.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("b.wav", "ffconcat version 1.0\nfile secret.wav\n"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(AudioError, match="not an audio format"):
            AudioReader(tmp_path / name)


def surround_sound(path):
    """Eight channels of sound for a second, each a tone of its own; gives their frequencies in Hz."""
    frequencies = np.array([500, 900, 1300, 50, 2100, 2500, 2900, 3300])  # the fourth has low ones only
    samples = 0.2 * np.sin(2 * np.pi * frequencies * np.arange(16000)[:, None] / 16000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), "flt", "7.1")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return frequencies


def loudest_frequencies(samples):
    """In Hz, of (frames, channels) at 16 kHz."""
    second = samples[:16000] * np.hanning(16000)[:, None]
    return np.abs(np.fft.rfft(second, axis=0)).argmax(axis=0)


def test_eight_channels_are_read(tmp_path):
    """The planes of such frames end without a mark: PyAV 18 reads on, and the process crashes."""
    frequencies = surround_sound(tmp_path / "film.m4a")
    samples, reader = read(tmp_path / "film.m4a")
    assert reader.channels == 8 and samples.shape[1] == 8
    np.testing.assert_allclose(loudest_frequencies(samples), frequencies, atol=2)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(samples[4000:12000]), axis=0)), 0.2 / np.sqrt(2), rtol=0.2)


def test_the_pipeline_reads_eight_channels(tmp_path):
    from dse_hf.models.pipeline_audio_to_audio import _decode

    frequencies = surround_sound(tmp_path / "film.m4a")
    samples, rate = _decode((tmp_path / "film.m4a").read_bytes(), "film.m4a")
    assert rate == 16000
    np.testing.assert_array_equal(samples, read(tmp_path / "film.m4a")[0].T)
    np.testing.assert_allclose(loudest_frequencies(samples.T), frequencies, atol=2)


@pytest.mark.parametrize("kind", ["flac", "w64", "aiff", "au", "ogg", "opus", "mp3", "m4a", "mkv", "webm"])
def test_broken_off_files(tmp_path, kind):
    samples = np.random.default_rng(0).normal(0, 0.1, (4 * 48000, 2)).astype(np.float32)
    path = tmp_path / f"a.{kind}"
    if kind in ("m4a", "mkv", "webm"):
        options = {"movflags": "faststart"} if kind == "m4a" else None
        write_av(path, samples, 48000, "libopus" if kind == "webm" else "aac", options=options)
    else:
        soundfile.write(path, samples, 48000, format={"opus": "OGG"}.get(kind, kind.upper()))
    content = path.read_bytes()
    read(content)
    with pytest.raises(AudioError, match="breaks off") as error:
        read(content[: len(content) * 2 // 3])
    one_line(error)


def test_nan_is_told_with_its_time(tmp_path):
    samples = tones(16000, 3, 2)
    samples[40000, 1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN or infinity at 2\.500 s"):
        read(tmp_path / "a.wav")


# ── Resampling ──


def resample(samples, input_rate, output_rate, block=1000, total=None):
    resampler = Resampler(input_rate, output_rate, samples.shape[1])
    blocks = [resampler.push(samples[start : start + block]) for start in range(0, len(samples), block)]
    return np.concatenate([*blocks, resampler.flush(total)])


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(1, 5000),
    block=st.integers(1, 2000),
    rates=st.tuples(*[st.sampled_from([1000, 8000, 11025, 16000, 44100, 48000, 96000, 768000])] * 2),
)
def test_resampled_length_is_exact_there_and_back(length, block, rates):
    samples = np.ones((length, 2), np.float32)
    there = resample(samples, *rates, block)
    assert len(there) == -(-length * rates[1] // rates[0])
    assert len(resample(there, *rates[::-1], block, total=length)) == length


def test_equal_rates_change_nothing():
    samples = tones()
    np.testing.assert_array_equal(resample(samples, 48000, 48000), samples)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampled_blocks_equal_soxr_in_one_piece_and_keep_their_time(rate):
    samples = tones(rate, 1, 1) + np.random.default_rng(0).normal(0, 0.1, (rate, 1)).astype(np.float32)
    whole = soxr.resample(samples, rate, 16000, "VHQ")
    np.testing.assert_allclose(resample(samples, rate, 16000)[: len(whole)], whole, atol=1e-6)
    impulse = np.zeros((rate, 1), np.float32)
    impulse[rate // 3] = 1
    back = resample(resample(impulse, rate, 16000), 16000, rate, total=rate)
    assert np.argmax(np.abs(back)) == rate // 3


# ── Writing ──


@pytest.mark.parametrize(
    "file_format, input_subtype, wanted",
    [
        ("wav", "PCM_16", "PCM_16"),
        ("wav", "PCM_24", "PCM_24"),
        ("wav", "PCM_32", "PCM_32"),
        ("wav", "FLOAT", "FLOAT"),
        ("wav", "DOUBLE", "DOUBLE"),
        ("wav", "PCM_U8", "PCM_16"),
        ("wav", "VORBIS", "PCM_16"),
        ("wav", "AAC", "PCM_16"),
        ("flac", "PCM_16", "PCM_16"),
        ("flac", "FLOAT", "PCM_24"),
        ("flac", "PCM_32", "PCM_24"),
        ("ogg", "FLOAT", "VORBIS"),
        ("opus", "PCM_16", "OPUS"),
        ("mp3", "PCM_16", "MPEG_LAYER_III"),
    ],
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
    one_line(error)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("limit", [100, 3000])
def test_full_disk_leaves_nothing(tmp_path, extension, limit):
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
    one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_long_wav_becomes_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_encoders, "_WAV_LIMIT", 10_000)
    samples = tones(16000, 1, 1)
    with AudioWriter(tmp_path / "a.wav", 16000, 1, seconds=1) as writer:
        writer.write(samples)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], quantize(samples, "PCM_16"))
    too_long = pytest.raises(AudioError, match="longer than the 4 GB of a wav")
    with too_long, AudioWriter(tmp_path / "b.wav", 16000, 1) as writer:
        writer.write(samples)
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize("length", [4, 5, 26])
def test_an_ogg_file_that_ends_in_its_first_header_is_told(length):
    with pytest.raises(AudioError, match="breaks off in the middle of an ogg page"):
        read((b"OggS" + bytes(22))[:length])
