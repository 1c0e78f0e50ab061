"""Carries tags, covers, cue points and times of recording from the input to the output."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import one_line
from .chunks import append_chunks, info_chunk, read_chunks, read_info
from .reader import AudioReader
from .shared_file import SharedFile
from .writer import FileWriter


@dataclass(frozen=True)
class Tag:
    """The names of a tag in ID3 (mp3, aiff), MPEG-4 and the INFO list of a wav."""

    id3: str
    mp4: str
    info: bytes | None = None


# Keys are the names in Vorbis comments (flac, ogg, opus).
TAGS = {
    "title": Tag("TIT2", "\xa9nam", b"INAM"),
    "artist": Tag("TPE1", "\xa9ART", b"IART"),
    "album": Tag("TALB", "\xa9alb", b"IPRD"),
    "albumartist": Tag("TPE2", "aART"),
    "composer": Tag("TCOM", "\xa9wrt"),
    "date": Tag("TDRC", "\xa9day", b"ICRD"),
    "tracknumber": Tag("TRCK", "trkn", b"ITRK"),
    "discnumber": Tag("TPOS", "disk"),
    "genre": Tag("TCON", "\xa9gen", b"IGNR"),
    "comment": Tag("COMM", "\xa9cmt", b"ICMT"),
    "copyright": Tag("TCOP", "cprt", b"ICOP"),
}
_FFMPEG_NAMES = {"track": "tracknumber", "disc": "discnumber", "album_artist": "albumartist", "year": "date"}
_STALE = ("replaygain_", "r128_", "encod", "metadata_block_picture")  # of the input's sound, or written anew
_LARGEST_COVER = 2**24 - 2**10  # bytes, in flac


@dataclass
class Metadata:
    """What a file says about itself. `native` is the tag object of mutagen, for outputs of the same kind."""

    tags: dict[str, list[str]] = field(default_factory=dict)  # names of Vorbis comments → texts
    covers: list[Any] = field(default_factory=list)  # mutagen.flac.Picture
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)  # of wav or aiff, see `read_chunks`
    native: Any = None
    is_aiff: bool = False


def copy_metadata(reader: AudioReader, writer: FileWriter) -> list[str]:
    """Copies the metadata of the input to the finished temporary file of a writer. The samples stay as they are.

    A wav gets the chunks of a wav. Other formats get the tags that both have, and the covers.

    Returns:
        `list[str]`: notes on what was left out, because it is damaged or cannot be stored.

    Raises:
        AudioError: the disk is full.
    """
    suffix = writer.path.suffix[1:].lower()
    write = _WRITERS.get(suffix)
    if write is None:  # a VideoWriter has done it, or the format holds no tags
        return writer.notes
    notes = list(writer.notes)
    try:
        metadata = _read(SharedFile(reader.file))
    except Exception as error:  # any exception, because tags may hold anything
        return [*notes, f"the tags are damaged and were left out ({one_line(error, most=100)})"]
    small = [cover for cover in metadata.covers if len(cover.data) <= _LARGEST_COVER]
    if len(small) < len(metadata.covers):
        notes.append("a cover of more than 16 MB was left out")
        metadata.covers = small
    try:
        write(writer.part, metadata)
    except Exception as error:
        notes.append(f"the tags could not be written and were left out ({one_line(error, most=100)})")
    writer.check()
    return notes


# ── Reading ──


def _read(file: SharedFile) -> Metadata:
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"FORM"):
        return _read_chunks(file, is_aiff=head[:4] == b"FORM")
    import mutagen  # here, because most wav files do not need it

    file.seek(0)
    found = mutagen.File(file)
    if found is None:
        return Metadata(_read_with_ffmpeg(file))
    return _read_native(found, found.tags)


def _read_chunks(file: SharedFile, is_aiff: bool) -> Metadata:
    chunks = read_chunks(file)
    tagged = [content for name, content in chunks if name in (b"id3 ", b"ID3 ")]
    if tagged:
        from mutagen.id3 import ID3

        metadata = _read_native(None, ID3(io.BytesIO(tagged[0])))
    else:
        metadata = Metadata()
    texts = read_info(chunks)
    for name, tag in TAGS.items():
        if tag.info in texts:
            metadata.tags.setdefault(name, [texts[tag.info]])
    metadata.chunks, metadata.is_aiff = chunks, is_aiff
    return metadata


def _read_native(file, tags) -> Metadata:
    kinds = [kind.__name__ for kind in type(tags).__mro__]
    read = next((read for kind, read in _READERS.items() if kind in kinds), None)
    return Metadata() if read is None else Metadata(read(tags), _covers(file, tags), native=tags)


def _from_comments(tags) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in tags:
        if not name.lower().startswith(_STALE):
            found.setdefault(name.lower(), []).append(text)
    return found


def _from_id3(tags) -> dict[str, list[str]]:
    found = {}
    for name, tag in TAGS.items():
        frames = tags.getall(tag.id3)
        if tag.id3 == "COMM":  # programs hide their own notes in comments with a description
            frames = [frame for frame in frames if not frame.desc]
        if texts := [str(text) for frame in frames for text in frame.text if str(text)]:
            found[name] = texts
    return found


def _from_mp4(tags) -> dict[str, list[str]]:
    found = {}
    for name, tag in TAGS.items():
        values = tags.get(tag.mp4, ())
        texts = ["/".join(str(n) for n in value if n) if isinstance(value, tuple) else str(value) for value in values]
        if texts:
            found[name] = texts
    return found


_READERS: dict[str, Callable[[Any], dict[str, list[str]]]] = {
    "VComment": _from_comments,
    "ID3": _from_id3,
    "MP4Tags": _from_mp4,
}


def _read_with_ffmpeg(file: SharedFile) -> dict[str, list[str]]:
    """The tags of files that mutagen does not know, such as mkv."""
    import av

    file.seek(0)
    with av.open(file, metadata_errors="replace") as container:
        tags = {_FFMPEG_NAMES.get(name.lower(), name.lower()): text for name, text in container.metadata.items()}
    return {name: [tags[name]] for name in TAGS if name in tags}


def _covers(found, tags) -> list:
    from mutagen.flac import Picture

    if hasattr(found, "pictures"):
        return list(found.pictures)
    if hasattr(tags, "getall"):  # ID3
        return [_picture(frame.data, frame.mime, frame.type, frame.desc) for frame in tags.getall("APIC")]
    if "covr" in tags:  # MPEG-4
        return [
            _picture(bytes(cover), "image/png" if cover.imageformat == 14 else "image/jpeg") for cover in tags["covr"]
        ]
    return [Picture(base64.b64decode(text)) for text in tags.get("metadata_block_picture", ())]


def _picture(data: bytes, mime: str, kind: int = 3, description: str = ""):
    from mutagen.flac import Picture

    picture = Picture()
    picture.data, picture.mime, picture.type, picture.desc = data, mime, kind, description
    return picture


# ── Writing ──


def _write_wav(path, metadata: Metadata) -> None:
    chunks = [] if metadata.is_aiff else list(metadata.chunks)
    names = [name for name, tag in TAGS.items() if tag.info and name in metadata.tags]
    if names and not read_info(chunks):
        chunks.append(info_chunk({TAGS[name].info: "; ".join(metadata.tags[name]) for name in names}))
    _append(path, chunks)


def _write_aiff(path, metadata: Metadata) -> None:
    if metadata.is_aiff:
        _append(path, [chunk for chunk in metadata.chunks if chunk[0] != b"ID3 "])
    from mutagen.aiff import AIFF

    _save_id3(AIFF(path), metadata)


def _append(path, chunks: list[tuple[bytes, bytes]]) -> None:
    if chunks:
        with open(path, "r+b", buffering=0) as file:
            append_chunks(file, chunks)


def _write_mp3(path, metadata: Metadata) -> None:
    from mutagen.mp3 import MP3

    _save_id3(MP3(path), metadata)


def _save_id3(file, metadata: Metadata) -> None:
    from mutagen import id3

    frames = []
    if isinstance(metadata.native, id3.ID3):
        frames = [frame for frame in metadata.native.values() if not _is_stale(frame)]
    else:
        for name, tag in TAGS.items():
            if texts := metadata.tags.get(name):
                frames.append(getattr(id3, tag.id3)(encoding=3, text=texts))
        for cover in metadata.covers:
            frames.append(id3.APIC(3, cover.mime, cover.type, cover.desc, cover.data))
    if frames:
        if file.tags is None:
            file.add_tags()
        for frame in frames:
            file.tags.add(frame)
        file.save()


def _is_stale(frame) -> bool:
    described = getattr(frame, "desc", "").lower()
    return frame.FrameID in ("TSSE", "TENC", "RVA2", "RGAD", "TLEN") or described.startswith(_STALE)


def _write_flac(path, metadata: Metadata) -> None:
    from mutagen.flac import FLAC

    file = FLAC(path)
    if metadata.tags or metadata.covers:
        _set_comments(file, metadata)
        for cover in metadata.covers:
            file.add_picture(cover)
        file.save()


def _write_ogg(path, metadata: Metadata) -> None:
    from mutagen.oggvorbis import OggVorbis

    _save_ogg(OggVorbis(path), metadata)


def _write_opus(path, metadata: Metadata) -> None:
    from mutagen.oggopus import OggOpus

    _save_ogg(OggOpus(path), metadata)


def _save_ogg(file, metadata: Metadata) -> None:
    if metadata.tags or metadata.covers:
        _set_comments(file, metadata)
        if metadata.covers:
            pictures = [base64.b64encode(cover.write()).decode("ascii") for cover in metadata.covers]
            file["metadata_block_picture"] = pictures
        file.save()


def _set_comments(file, metadata: Metadata) -> None:
    if file.tags is None:
        file.add_tags()
    for name, texts in metadata.tags.items():
        file[name] = texts


_WRITERS: dict[str, Callable[[Any, Metadata], None]] = {
    "wav": _write_wav,
    "aiff": _write_aiff,
    "flac": _write_flac,
    "ogg": _write_ogg,
    "opus": _write_opus,
    "mp3": _write_mp3,
}
