import base64
import io
import os

import av
import mutagen
import numpy as np
import pytest
import soundfile
from mutagen import id3
from mutagen.aiff import AIFF
from mutagen.flac import FLAC, CueSheet, CueSheetTrack, Picture
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from dse_hf.audio import AudioError, AudioWriter
from dse_hf.audio.chunks import append_chunks, info_chunk, read_chunks, read_info
from dse_hf.separate import separate_file
from tests.audio.films import COVER, burst, write_film
from tests.audio.sounds import tones, write_av
from tests.test_separate import StubModel


# A description, who recorded it, date and time, and the time of the first sample: one hour after midnight.
BEXT = b"A description".ljust(256, b"\0") + b"Somebody".ljust(64, b"\0") + b"2026-11-3001:00:00"
BEXT += (48000 * 3600).to_bytes(8, "little") + bytes(2 + 64 + 190)
CUE = b"\1\0\0\0" + b"\1\0\0\0" + (12000).to_bytes(4, "little") + b"data" + bytes(8) + (12000).to_bytes(4, "little")
CHUNKS = [
    (b"bext", BEXT),
    (b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>"),
    (b"cue ", CUE),
    (b"LIST", b"adtl" + b"labl" + b"\x0a\0\0\0" + b"\1\0\0\0" + b"Verse\0"),
    info_chunk({b"INAM": "Ein Stück", b"IART": "Somebody", b"ICRD": "2026"}),
]
MODEL = StubModel([1.0], sampling_rate=48000)
TEXTS = {"title": ["Ein Stück"], "artist": ["Somebody"], "date": ["2026"]}


def write_wav(path, chunks=CHUNKS, subtype="PCM_16", **options):
    soundfile.write(path, tones(seconds=0.4), 48000, subtype=subtype, **options)
    with open(path, "r+b", buffering=0) as file:
        append_chunks(file, chunks)
    return path


def write_tagged(path):
    """A file with title, artist, date, a cover, and for some formats a tag that only they have."""
    suffix = path.suffix[1:]
    if suffix == "m4a":
        write_av(path, tones(), 48000, "aac")
        file = MP4(path)
        file.update({"\xa9nam": ["Ein Stück"], "\xa9ART": ["Somebody"], "\xa9day": ["2026"], "trkn": [(3, 9)]})
        file["covr"] = [MP4Cover(COVER, MP4Cover.FORMAT_PNG)]
        file.save()
        return path
    with AudioWriter(path, 48000, 2) as writer:
        writer.write(tones())
    picture = Picture()
    picture.data, picture.mime, picture.type = COVER, "image/png", 3
    if suffix in ("mp3", "aiff"):
        file = MP3(path) if suffix == "mp3" else AIFF(path)
        file.add_tags()
        frames = [id3.TIT2(3, ["Ein Stück"]), id3.TPE1(3, ["Somebody"]), id3.TDRC(3, ["2026"]), id3.TRCK(3, ["3/9"])]
        frames += [id3.APIC(3, "image/png", 3, "front", COVER), id3.TXXX(3, "mine", ["yes"])]
        frames += [id3.TXXX(3, "replaygain_track_gain", ["-3 dB"])]
        for frame in frames:
            file.tags.add(frame)
    else:
        file = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}[suffix](path)
        for name, texts in {**TEXTS, "tracknumber": ["3/9"], "mine": ["yes", "no"], "r128_track_gain": ["-3"]}.items():
            file[name] = texts
        if suffix == "flac":
            file.add_picture(picture)
        else:
            file["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
    file.save()
    return path


def foreground(path, file_format="same"):
    result = separate_file(MODEL, path, path.parent / "out", sources=["foreground"], file_format=file_format)
    return result.outputs["foreground"], result.notes


def chunks_of(path):
    with open(path, "rb") as file:
        return read_chunks(file)


def samples_of(path):
    return soundfile.read(path, dtype="float64")[0]


@pytest.mark.parametrize("container, subtype", [("WAV", "PCM_16"), ("RF64", "PCM_24"), ("WAV", "FLOAT")])
def test_a_wav_keeps_its_chunks(tmp_path, container, subtype):
    path = write_wav(tmp_path / "a.wav", subtype=subtype, format=container)
    output, notes = foreground(path)
    assert notes == []
    assert chunks_of(output) == CHUNKS
    np.testing.assert_array_equal(samples_of(output), samples_of(path))
    with av.open(output) as file:  # FFmpeg finds them, too
        assert file.metadata["time_reference"] == "172800000" and file.metadata["title"] == "Ein Stück"
    if container == "WAV":
        with open(output, "rb") as file:
            assert int.from_bytes(file.read(8)[4:], "little") == os.path.getsize(output) - 8


def test_a_long_wav_gets_them_too(tmp_path, monkeypatch):
    from dse_hf.audio import writer as writer_module

    path = write_wav(tmp_path / "a.wav")
    monkeypatch.setattr(writer_module, "_WAV_LIMIT", 10_000)
    output, notes = foreground(path)
    assert notes == [] and soundfile.info(output).format == "RF64"
    assert chunks_of(output) == CHUNKS
    np.testing.assert_array_equal(samples_of(output), samples_of(path))
    with open(output, "rb") as file:
        assert int.from_bytes(file.read(28)[20:], "little") == len(file.read()) + 28 - 8


def test_chunks_of_the_size_of_the_data_and_of_odd_length(tmp_path):
    odd = [(b"iXML", b"<a/>."), (b"bext", BEXT)]
    path = write_wav(tmp_path / "a.wav", odd)
    samples = samples_of(path)
    output, _ = foreground(path)
    assert chunks_of(output) == odd
    np.testing.assert_array_equal(samples_of(output), samples)
    # Chunks before the samples are found as well.
    data = path.read_bytes()
    begin = b"WAVE" + b"iXML" + (5).to_bytes(4, "little") + b"<b/>.\0" + data[12:]
    (tmp_path / "b.wav").write_bytes(b"RIFF" + len(begin).to_bytes(4, "little") + begin)
    assert chunks_of(foreground(tmp_path / "b.wav")[0]) == [(b"iXML", b"<b/>."), *odd]


def test_aiff_keeps_its_markers_and_tags(tmp_path):
    path = write_tagged(tmp_path / "a.aiff")
    marker = (b"MARK", b"\0\1" + b"\0\1" + (12000).to_bytes(4, "big") + b"\5Verse")
    with open(path, "r+b", buffering=0) as file:
        append_chunks(file, [marker])
    output, notes = foreground(path)
    assert notes == [] and marker in chunks_of(output)
    assert AIFF(output).tags["TIT2"].text == ["Ein Stück"]
    np.testing.assert_array_equal(samples_of(output), samples_of(path))


@pytest.mark.parametrize("source", ["flac", "ogg", "opus", "mp3", "aiff", "m4a", "wav"])
@pytest.mark.parametrize("target", ["flac", "ogg", "opus", "mp3", "aiff", "wav"])
def test_tags_and_covers_go_from_format_to_format(tmp_path, source, target):
    path = write_wav(tmp_path / "a.wav") if source == "wav" else write_tagged(tmp_path / f"a.{source}")
    output, notes = foreground(path, target)
    lost = source == "wav" and target != "wav"
    assert notes == [f"{target} holds no broadcast-wav times and cue points; they were left out"] * lost
    wanted = dict(TEXTS) if source == "wav" else {**TEXTS, "tracknumber": ["3/9"]}
    # The samples are those of an output without tags.
    plain, _ = foreground(_without_tags(path), target)
    np.testing.assert_array_equal(samples_of(output), samples_of(plain))
    if target == "wav":
        texts = read_info(chunks_of(output))
        assert texts[b"INAM"] == "Ein Stück" and texts[b"IART"] == "Somebody" and texts[b"ICRD"] == "2026"
        return
    if target in ("mp3", "aiff"):
        tags = (MP3 if target == "mp3" else AIFF)(output).tags
        found = {name: [str(text) for text in tags[frame].text] for name, frame in _FRAMES.items() if frame in tags}
        covers = [frame.data for frame in tags.getall("APIC")]
        own = [frame.text for frame in tags.getall("TXXX")]
        assert own == ([["yes"]] if source in ("mp3", "aiff") else [])
    else:
        tags = {"flac": FLAC, "ogg": OggVorbis, "opus": OggOpus}[target](output)
        found = {name: tags[name] for name in _FRAMES if name in tags}
        covers = [cover.data for cover in tags.pictures] if target == "flac" else _pictures(tags)
        assert tags.get("mine") == (["yes", "no"] if source in ("flac", "ogg", "opus") else None)
        assert "r128_track_gain" not in tags and "replaygain_track_gain" not in tags
    assert found == wanted
    assert covers == ([] if source == "wav" else [COVER])


_FRAMES = {"title": "TIT2", "artist": "TPE1", "date": "TDRC", "tracknumber": "TRCK"}


def _pictures(tags):
    return [Picture(base64.b64decode(text)).data for text in tags.get("metadata_block_picture", ())]


def _without_tags(path):
    bare = path.with_name(f"bare{path.suffix}")
    bare.write_bytes(path.read_bytes())
    if path.suffix != ".wav":
        mutagen.File(bare).delete()
    return bare


def test_flac_keeps_its_cue_sheet(tmp_path):
    path = write_tagged(tmp_path / "a.flac")
    file = FLAC(path)
    cues = CueSheet(None)
    cues.lead_in_samples, cues.compact_disc = 0, False
    cues.tracks = [CueSheetTrack(1, 12000, isrc=b""), CueSheetTrack(255, 24000, isrc=b"")]
    file.metadata_blocks.append(cues)
    file.save()
    output, notes = foreground(path)
    assert notes == [] and FLAC(output).cuesheet.tracks == cues.tracks
    np.testing.assert_array_equal(samples_of(output), samples_of(path))


def test_the_tags_of_a_film_go_to_its_sound(tmp_path):
    for suffix in ("mp4", "mkv"):
        output, notes = foreground(write_film(tmp_path / f"{suffix}.{suffix}", burst()), "flac")
        assert notes == [] and FLAC(output)["title"] == ["A talk"] and FLAC(output)["artist"] == ["Somebody"]


def test_files_of_other_formats_need_no_tags(tmp_path):
    for suffix, options in {"w64": {"format": "W64"}, "mat": {"format": "MAT5", "subtype": "PCM_16"}}.items():
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, tones(), 48000, **options)
        assert foreground(path, "flac")[1] == []
        (tmp_path / "out" / "a.foreground.flac").unlink()


# ── Failures ──


def test_damaged_tags_are_left_out_with_a_note(tmp_path):
    huge = (b"iXML", b"<a/>")
    path = write_wav(tmp_path / "a.wav", [huge])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"iXML\4\0\0\0", b"iXML\xff\xff\0\0"))
    output, notes = foreground(path)
    assert len(notes) == 1 and "tags are damaged and were left out (its chunk 'iXML' breaks off)" in notes[0]
    np.testing.assert_array_equal(samples_of(output), samples_of(path))

    path = write_tagged(tmp_path / "b.flac")
    file = FLAC(path)
    file.pictures[0].data = bytes(2**24 - 100)
    file.save()
    _, notes = foreground(path, "mp3")
    assert notes == ["a cover of more than 16 MB was left out"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_tags_that_cannot_be_written_leave_the_samples_whole(tmp_path, suffix, monkeypatch):
    from dse_hf.audio import metadata

    def fail(path, metadata):
        raise RuntimeError("no\nreason")

    monkeypatch.setitem(metadata._WRITERS, suffix, fail)
    path = write_wav(tmp_path / "a.wav")
    output, notes = foreground(path, suffix)
    assert notes[-1] == "the tags could not be written and were left out (no reason)"
    assert soundfile.info(output).frames == 19200


def test_a_full_disk_while_tags_are_written(tmp_path):
    resource = pytest.importorskip("resource")  # Windows has none
    path = write_wav(tmp_path / "a.wav")
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 300, hard))
    try:
        output, notes = foreground(path)
    except AudioError:  # a whole file or none
        assert list((tmp_path / "out").iterdir()) == []
    else:
        assert len(notes) == 1 and chunks_of(output) == []
        np.testing.assert_array_equal(samples_of(output), samples_of(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_of_4_gb_has_no_room_for_chunks(monkeypatch):
    class Large(io.BytesIO):
        def seek(self, offset, whence=0):
            super().seek(offset, whence)
            return 2**32 if whence == 2 else offset

    with pytest.raises(ValueError, match="no room"):
        append_chunks(Large(b"RIFF" + bytes(40)), CHUNKS)
