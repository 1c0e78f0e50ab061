"""The chunks of wav and aiff files that are not samples: tags, cue points, broadcast-wav times."""

import os
from collections.abc import Iterator
from typing import BinaryIO

from .shared_file import SharedFile


# The first four bytes of a file → the chunks that hold for the result too, as it has the input's rate and length:
# tags, points in time, times of recording.
_WAV = {*(b"LIST", b"bext", b"iXML", b"cue ", b"plst", b"smpl", b"inst", b"acid", b"cart", b"axml", b"chna", b"_PMX")}
_ID3 = {b"id3 ", b"ID3 "}
_KEPT = {
    **dict.fromkeys((b"RIFF", b"RF64"), _WAV | _ID3),
    b"FORM": {b"MARK", b"COMT", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"INST", b"MIDI", b"APPL"} | _ID3,
}
_MOST_BYTES = 2**26  # of a chunk


def read_chunks(file: BinaryIO | SharedFile) -> list[tuple[bytes, bytes]]:
    """Reads the chunks to keep of a wav (RIFF, RF64) or aiff file: their names and contents. Others have none.

    Raises a ValueError if one of them is damaged or larger than 64 MB.
    """
    chunks = []
    file.seek(0)
    kept = _KEPT.get(file.read(4), ())
    for name, start, size in _chunks(file):
        if name not in kept:
            continue
        if size > _MOST_BYTES:
            raise ValueError(f"its chunk {name.decode('ascii')!r} of {size:,} bytes is too large")
        file.seek(start)
        content = file.read(size)
        if len(content) < size:
            raise ValueError(f"its chunk {name.decode('ascii')!r} breaks off")
        if name != b"LIST" or content[:4] in (b"INFO", b"adtl"):
            chunks.append((name, content))
    return chunks


def append_chunks(file: BinaryIO, chunks: list[tuple[bytes, bytes]]) -> None:
    """Adds chunks at the end of a wav (RIFF, RF64) or aiff file, which is open for reading and writing, unbuffered.

    If this fails, the file is as it was. Raises a ValueError if the size does not fit the header, or an OSError.
    """
    file.seek(0)
    head = file.read(32)
    order = "big" if head[:4] == b"FORM" else "little"
    # The size of an RF64 file stands in its first chunk, ds64.
    position, width = (20, 8) if head[:4] == b"RF64" else (4, 4)
    end = file.seek(0, os.SEEK_END)
    data = b"\0" * (end % 2)
    for name, content in chunks:
        data += name + len(content).to_bytes(4, order) + content + b"\0" * (len(content) % 2)
    size = end + len(data) - 8
    if size >= 2 ** (8 * width):
        raise ValueError("there is no room for its tags in a file of 4 GB")
    try:
        if file.write(data) < len(data):
            raise OSError("the disk is full")
        file.seek(position)
        file.write(size.to_bytes(width, order))
    except OSError:
        file.truncate(end)
        file.seek(position)
        file.write(head[position : position + width])
        raise


def _chunks(file: BinaryIO | SharedFile) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name, the position of the content and the size of each chunk, as far as the file can be followed."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in _KEPT or head[8:12] not in (b"WAVE", b"AIFF", b"AIFC"):
        return
    order, position, data_size = ("big" if head[:4] == b"FORM" else "little"), 12, None
    while position + 8 <= end:
        file.seek(position)
        name, size = file.read(4), int.from_bytes(file.read(4), order)
        if name == b"ds64":
            data_size = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data" and size == 2**32 - 1 and data_size is not None:
            size = data_size
        yield name, position + 8, size
        position += 8 + size + size % 2


# ── Tags in LIST chunks ──


def read_info(chunks: list[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """The texts of the INFO lists among chunks of a wav: `{b"INAM": "a title", …}`."""
    texts = {}
    for content in (content for name, content in chunks if name == b"LIST" and content[:4] == b"INFO"):
        position = 4
        while position + 8 <= len(content):
            size = int.from_bytes(content[position + 4 : position + 8], "little")
            text = content[position + 8 : position + 8 + size].rstrip(b"\0")
            try:
                texts[content[position : position + 4]] = text.decode("utf-8")
            except UnicodeDecodeError:
                texts[content[position : position + 4]] = text.decode("cp1252", "replace")
            position += 8 + size + size % 2
    return texts


def info_chunk(texts: dict[bytes, str]) -> tuple[bytes, bytes]:
    """A LIST chunk with these texts."""
    content = b"INFO"
    for name, text in texts.items():
        data = text.encode("utf-8", "replace") + b"\0"
        content += name + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    return b"LIST", content
