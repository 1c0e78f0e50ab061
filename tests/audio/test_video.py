import av
import numpy as np
import pytest
from mutagen.mp4 import MP4, MP4Cover

from dse_hf.audio import AudioError, AudioReader
from dse_hf.audio.video import VideoWriter
from dse_hf.separate import separate_file
from tests.audio.films import CODECS, COVER, RATE, burst, description, placed, tracks, write_film
from tests.test_separate import StubModel


def copied(path, **options):
    """The film with the foreground of a model that changes nothing."""
    result = separate_file(StubModel([1.0]), path, sources=["foreground"], file_format="same", **options)
    return path.with_name(f"{path.stem}.foreground{path.suffix}"), result


def lag(found, wanted, most=3000):
    """The samples by which `found` is late, from the highest correlation of the two."""
    found, wanted = found[:, 0], wanted[:, 0]
    length = max(len(found), len(wanted)) + most
    spectrum = np.fft.rfft(found, 2 * length) * np.fft.rfft(wanted, 2 * length).conj()
    correlation = np.fft.irfft(spectrum)
    return int(np.argmax(np.concatenate([correlation[-most:], correlation[: most + 1]]))) - most


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("track", [1, 2])
def test_all_but_the_cleaned_track_is_the_same_packet_by_packet(tmp_path, suffix, track):
    path = write_film(tmp_path / f"a.{suffix}", burst())
    output, result = copied(path, track=track)
    assert result.notes == [] and result.outputs == {"foreground": str(output)}
    assert tracks(output, without=track) == tracks(path, without=track)
    assert description(output) == description(path)
    if suffix == "mkv":
        with av.open(str(output)) as film:
            assert [stream.data for stream in film.streams.attachments] == [b"not a font"]
            assert [bytes(packet) for packet in film.demux(video=1) if packet.size] == [COVER]


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"start": 0.3},
        {"start": 0.01},  # less than the delay of the encoders
        {"gap": (0.5, 0.7)},
        {"offset": 5.0, "start": 0.25},
    ],
    ids=["plain", "start", "early", "gap", "offset"],
)
def test_the_sound_stays_with_the_pictures_to_the_sample(tmp_path, suffix, options):
    path = write_film(tmp_path / f"a.{suffix}", burst(), **options)
    output, _ = copied(path, track=1)
    begin = options.get("start", 0) + options.get("offset", 0)
    wanted = np.concatenate([np.zeros((round(begin * RATE), 2)), burst()])
    # FFmpeg's times of the frames, which Matroska rounds to 1 ms.
    tolerance = 0 if suffix in ("mp4", "mov") else 2 * RATE / 1000
    before, after = placed(path, seconds=8), placed(output, seconds=8)
    assert abs(lag(before, wanted)) <= tolerance
    assert abs(lag(after, before)) <= tolerance
    # Our reader's times: exact. AAC before 0 is cut off.
    with AudioReader(path, track=1) as reader, AudioReader(output, track=1) as again:
        late = lag(np.concatenate(list(again)), np.concatenate(list(reader)))
        assert round((again.start - reader.start) * RATE) + late == 0
    assert tracks(output, without=1) == tracks(path, without=1)


def test_the_track_that_players_choose(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst(), start=0.3)  # no track is marked, and the first begins later
    output, _ = copied(path)
    assert tracks(output, without=1) == tracks(path, without=1)
    marked = write_film(tmp_path / "b.mkv", burst(), default=2)
    output, _ = copied(marked)
    assert tracks(output, without=2) == tracks(marked, without=2)
    with AudioReader(marked) as reader:
        assert reader.channels == 1


@pytest.mark.parametrize(
    ("suffix", "codec", "rate", "channels", "subtype"),
    [
        ("mov", "pcm_s16le", 48000, 2, "PCM_16"),
        ("mov", "alac", 48000, 2, "PCM_24"),
        ("mkv", "flac", 44100, 2, "PCM_16"),
        ("mkv", "ac3", 48000, 6, "AC3"),
        ("mkv", "libmp3lame", 44100, 2, "MP3"),
        ("mp4", "libopus", 48000, 1, "OPUS"),
        ("mkv", "mp2", 44100, 2, "OPUS"),  # it has no entry in the table, and Opus needs 48 kHz
    ],
)
def test_the_track_keeps_its_codec_if_it_can_be_encoded(tmp_path, suffix, codec, rate, channels, subtype):
    path = write_film(tmp_path / f"a.{suffix}", burst(channels=channels), codec=codec, rate=rate)
    with AudioReader(path) as reader, VideoWriter(tmp_path / f"b.{suffix}", path, rate, channels) as writer:
        assert writer.subtype == subtype
        before = np.concatenate(list(reader))
        writer.write(before)
    after = np.concatenate(list(AudioReader(tmp_path / f"b.{suffix}")))
    assert after.shape[1] == channels and len(after) / len(before) > 0.999
    if subtype.startswith("PCM"):
        np.testing.assert_array_equal(after[: len(before)], before)
    elif subtype != "OPUS" or rate == 48000:
        assert lag(after, before) == 0


def test_lossless_sources_of_a_film_sum_to_the_input_to_the_bit(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst(), codec="flac")
    result = separate_file(StubModel([0.3]), path, file_format="same")
    parts = [np.concatenate(list(AudioReader(output))) for output in result.outputs.values()]
    np.testing.assert_array_equal(parts[0] + parts[1], np.concatenate(list(AudioReader(path))))


def test_a_file_object_is_read_twice_at_once(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst())
    with open(path, "rb") as file:
        result = separate_file(StubModel([1.0]), file, tmp_path / "out", file_format="same")
    assert sorted(result.outputs.values()) == [
        str(tmp_path / "out" / f"a.{name}.mkv") for name in ("background", "foreground")
    ]
    for output in result.outputs.values():
        assert tracks(output, without=1) == tracks(path, without=1)


def test_m4a_gives_m4a_with_tags_and_cover(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4", container_options={"brand": "M4A "}) as file:
        file.metadata.update({"title": "A talk", "album": "Talks"})
        stream = file.add_stream("aac", rate=RATE)
        frame = av.AudioFrame.from_ndarray(burst().reshape(1, -1), "flt", "stereo")
        frame.sample_rate = RATE
        file.mux([*stream.encode(frame), *stream.encode(None)])
    tags = MP4(path)
    tags["covr"] = [MP4Cover(COVER, MP4Cover.FORMAT_PNG)]
    tags.save()
    output, result = copied(path)
    assert result.notes == []
    assert description(output) == description(path) and description(path)[2]["album"] == "Talks"
    assert tracks(output, without=0) == tracks(path, without=0) == {1: [(None, None, 0, True, COVER)]}


@pytest.mark.parametrize("tag", [b"gpmd", b"mebx"])
def test_data_streams_are_copied_or_left_out_with_a_note(tmp_path, tag):
    path = write_film(tmp_path / "a.mp4", burst(), data=True)
    path.write_bytes(path.read_bytes().replace(b"gpmd", tag))  # FFmpeg writes only the first of them
    output, result = copied(path, track=1)
    if tag == b"gpmd":
        assert result.notes == [] and tracks(output, without=1) == tracks(path, without=1)
    else:
        assert result.notes == ["mp4 cannot hold stream 4, data; left out"]
        copies = {index: packets for index, packets in tracks(path, without=1).items() if index != 4}
        assert tracks(output, without=1) == copies


# ── Failures ──


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    path = write_film(tmp_path / "a.mp4", burst())
    missing = tmp_path / "missing" / "b.mp4"
    for name, wanted in {
        "b.xyz": "not a video format that can be written; choose m4a",
        "a.mp4": "exists; pass --overwrite",
        str(missing): "no such file or folder",
    }.items():
        with pytest.raises(AudioError, match=wanted):
            VideoWriter(tmp_path / name, path, RATE, 2)
    with pytest.raises(AudioError, match="mp4 cannot hold 40 channels at 48000 Hz; choose wav"):
        VideoWriter(tmp_path / "b.mp4", path, RATE, 40)
    with pytest.raises(AudioError, match="has no audio track 3"):
        VideoWriter(tmp_path / "b.mp4", path, RATE, 2, track=3)
    assert list(tmp_path.iterdir()) == [path]


def test_the_source_must_hold_audio(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        film.mux([*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)])
    (tmp_path / "b.mp4").write_text("dear diary")
    for name, wanted in {"a.mp4": "has no audio track", "b.mp4": "not a"}.items():
        with pytest.raises(AudioError, match=wanted):
            copied(tmp_path / name)
        with pytest.raises(AudioError, match=wanted):
            VideoWriter(tmp_path / "c.mp4", tmp_path / name, RATE, 2)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("limit", [300, 9000, 30000])
def test_a_full_disk_leaves_nothing(tmp_path, suffix, limit):
    resource = pytest.importorskip("resource")  # Windows has none
    path = write_film(tmp_path / f"a.{suffix}", 0.1 * np.random.default_rng(0).normal(size=(2 * RATE, 2)).astype("f"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(AudioError, match=r"completely|cannot be written") as error:
            copied(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst())

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(path, progress=interrupt)
    assert list(tmp_path.iterdir()) == [path]


def test_the_input_itself_is_never_replaced(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst())
    before = path.read_bytes()
    (tmp_path / "a.foreground.mkv").symlink_to(path)
    with pytest.raises(AudioError, match="is the input itself"):
        copied(path, overwrite=True)
    assert path.read_bytes() == before


def test_same_needs_a_suffix_that_can_be_written(tmp_path):
    path = write_film(tmp_path / "a.mkv", burst())
    with pytest.raises(AudioError, match="format 'same': the input has no suffix; choose one of wav"):
        separate_file(StubModel(), path.read_bytes(), tmp_path, file_format="same")
    path = path.rename(tmp_path / "a.ts")
    with pytest.raises(AudioError, match=r"a\.ts: format 'same': 'ts' files cannot be written; choose one of wav"):
        separate_file(StubModel(), path, file_format="same")
    with pytest.raises(AudioError, match="format 'mp4' cannot be written"):
        separate_file(StubModel(), path, file_format="mp4")
