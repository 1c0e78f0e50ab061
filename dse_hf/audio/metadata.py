"""Carries tags, covers, cue points and times of recording from the input to the output."""

import base64
from collections.abc import Callable
from typing import Any

from ..errors import one_line
from .chunks import append_chunks, info_chunk, read_info
from .reader import AudioReader
from .shared_file import SharedFile
from .tags import STALE, TAGS, Metadata, read_metadata
from .writer import FileWriter


_POINTS_IN_TIME = {b"bext", b"iXML", b"cue "}  # chunks of wav that other formats do not have
_NEEDS_MUTAGEN = "tags and covers need mutagen to be carried over; run: pip install 'dse-hf[tags]'"
_LARGEST_COVER = 2**24 - 2**10  # bytes, in flac


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
        metadata = read_metadata(SharedFile(reader.file))
    except ImportError:
        return [*notes, _NEEDS_MUTAGEN]
    except Exception as error:  # any exception, because tags may hold anything
        return [*notes, f"the tags are damaged and were left out ({one_line(error, most=100)})"]
    small = [cover for cover in metadata.covers if len(cover.data) <= _LARGEST_COVER]
    if len(small) < len(metadata.covers):
        notes.append("a cover of more than 16 MB was left out")
        metadata.covers = small
    if suffix != "wav" and _POINTS_IN_TIME.intersection(name for name, _ in metadata.chunks):
        notes.append(f"{suffix} holds no broadcast-wav times and cue points; they were left out")
    try:
        write(writer.part, metadata)
    except ImportError:
        notes.append(_NEEDS_MUTAGEN)
    except Exception as error:
        notes.append(f"the tags could not be written and were left out ({one_line(error, most=100)})")
    writer.check()
    return notes


# ── Writing ──


def _write_wav(path, metadata: Metadata) -> None:
    chunks = [] if metadata.is_aiff else list(metadata.chunks)
    texts = {tag.info: metadata.tags[name] for name, tag in TAGS.items() if tag.info and name in metadata.tags}
    if texts and not read_info(chunks):
        chunks.append(info_chunk({name: "; ".join(several) for name, several in texts.items()}))
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


def _save_id3(file: Any, metadata: Metadata) -> None:
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
        tags: Any = file.tags
        for frame in frames:
            tags.add(frame)
        file.save()


def _is_stale(frame) -> bool:
    described = getattr(frame, "desc", "").lower()
    return frame.FrameID in ("TSSE", "TENC", "RVA2", "RGAD", "TLEN") or described.startswith(STALE)


def _write_flac(path, metadata: Metadata) -> None:
    from mutagen.flac import FLAC

    file = FLAC(path)
    if metadata.tags or metadata.covers or metadata.blocks:
        _set_comments(file, metadata)
        file.metadata_blocks += metadata.blocks
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
