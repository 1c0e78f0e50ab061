"""Files that cannot be read: each gives an error of one line."""

import errno
import functools
import io
import os

import numpy as np
import pytest
import soundfile

from dse_hf.audio import AudioError, AudioReader
from tests.audio.sounds import read, tones, write_av
from tests.data.clips import encoded


wav_bytes = functools.partial(encoded, subtype="PCM_16")


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
def test_unreadable_content_is_reported_in_one_line(tmp_path, content, wanted):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=wanted) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "; " in message and "\n" not in message


def test_a_header_that_points_before_the_file_is_reported_without_a_traceback(tmp_path, capfd):
    content = bytearray(write_av(tmp_path / "a.asf", tones(), 48000, "ac3").read_bytes())
    content[44:52] = bytes(7) + b"\x80"
    (tmp_path / "a.asf").write_bytes(content)
    with pytest.raises(AudioError, match="not an audio format that can be read, or damaged"):
        read(tmp_path / "a.asf")
    content = bytearray(encoded(tones(), 48000, "aiff", "PCM_16"))
    content[31:39] = b"\x80" + bytes(7)
    with pytest.raises(AudioError):
        read(bytes(content))
    assert capfd.readouterr().err == ""


def test_a_track_that_begins_in_the_middle_is_reported(tmp_path):
    content = bytearray(write_av(tmp_path / "a.ts", tones(seconds=3), 48000, "aac").read_bytes())
    for packet in range(len(content) // 2 // 188 * 188, len(content), 188):
        if content[packet + 1] & 31 == 1 and content[packet + 2] == 0:  # of track 0x100
            content[packet + 2] = 1
    with pytest.raises(AudioError, match=r"breaks off or is damaged at 1\.5 s"):
        read(bytes(content))


@pytest.mark.parametrize("works", [0, 1000, 12000])
def test_a_disk_that_fails_is_reported(tmp_path, works):
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
    assert str(error.value).startswith(f"{tmp_path / 'a.wav'}: ")
    with pytest.raises(AudioError, match=r"is a folder; name the files in it"):
        AudioReader(tmp_path)
    with pytest.raises(AudioError, match="a file stands where a folder is needed"):
        AudioReader(__file__ + "/a.wav")


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
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
    with pytest.raises(AudioError, match="breaks off"):
        read(content[: len(content) * 2 // 3])


def test_nan_is_reported_with_its_time(tmp_path):
    samples = tones(16000, 3, 2)
    samples[40000, 1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN or infinity at 2\.500 s"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("length", [4, 5, 26])
def test_an_ogg_file_that_ends_in_its_first_header_is_reported(length):
    with pytest.raises(AudioError, match="breaks off in the middle of an ogg page"):
        read((b"OggS" + bytes(22))[:length])
