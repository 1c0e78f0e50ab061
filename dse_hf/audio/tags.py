"""Reads what an audio file says about itself: tags, covers, cue points and times of recording."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..models.audio_files import SeekableAnywhere
from ..models.audio_formats import ffmpeg_demuxers
from .chunks import read_chunks, read_info
from .shared_file import SharedFile


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
STALE = ("replaygain_", "r128_", "encod", "metadata_block_picture")  # of the input's sound, or written anew
_FLAC_BLOCKS = (2, 5)  # mutagen's codes of application and cue sheet blocks


@dataclass
class Metadata:
    """What a file says about itself. `native` is the tag object of mutagen, for outputs of the same kind."""

    tags: dict[str, list[str]] = field(default_factory=dict)  # names of Vorbis comments → texts
    covers: list[Any] = field(default_factory=list)  # mutagen.flac.Picture
    chunks: list[tuple[bytes, bytes]] = field(default_factory=list)  # of wav or aiff, see `read_chunks`
    native: Any = None
    is_aiff: bool = False
    # Blocks of flac: cue points, and the chunks of the wav that it was made of.
    blocks: list[Any] = field(default_factory=list)


def read_metadata(file: SharedFile) -> Metadata:
    """Reads the metadata of a file. Raises any exception, since damaged tags may hold anything."""
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
    metadata = Metadata() if read is None else Metadata(read(tags), _covers(file, tags), native=tags)
    metadata.blocks = [block for block in getattr(file, "metadata_blocks", ()) if block.code in _FLAC_BLOCKS]
    return metadata


def _from_comments(tags) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, text in tags:
        if not name.lower().startswith(STALE):
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
    """The tags of files that mutagen does not know, such as mkv. Files that FFmpeg does not read either have none."""
    import av

    file.seek(0)
    options = {"format_whitelist": ffmpeg_demuxers()}
    try:
        with av.open(SeekableAnywhere(file), options=options, metadata_errors="replace") as container:
            tags = {_FFMPEG_NAMES.get(name.lower(), name.lower()): text for name, text in container.metadata.items()}
    except (av.error.FFmpegError, ValueError):
        return {}
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
