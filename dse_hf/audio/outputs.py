"""Chooses the writer for a result: a new audio file, or the input again with another audio track."""

import os
from pathlib import PurePath

from ..models.audio_files import AudioError
from ..models.audio_formats import FORMATS, SAME, writable_formats
from .reader import AudioReader
from .writer import AudioWriter, FileWriter, output_format


def output_suffix(source, file_format: str) -> str:
    """The suffix of a result without the dot: `file_format`, or that of the input if `file_format` is `"same"`.

    Raises:
        AudioError: the format cannot be written, or the input has no name.
    """
    if file_format != SAME:
        output_format(file_format, None)  # checks it
        return file_format
    name = source if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "")
    suffix = PurePath(name).suffix[1:] if isinstance(name, (str, os.PathLike)) else ""
    entry = FORMATS.get(suffix.lower())
    if entry is None or (entry.container is None and entry.muxer is None):
        what = f"{suffix!r} files cannot be written" if suffix else "the input has no suffix"
        raise AudioError(f"{name or 'input'}: format {SAME!r}: {what}; choose one of {', '.join(writable_formats())}")
    return suffix


def open_writer(
    path, reader: AudioReader, *, file_format: str, track: int | None = None, overwrite: bool = False
) -> FileWriter:
    """Opens the writer for a result of the file that `reader` reads.

    Args:
        path (`str` or `os.PathLike`): the result. Its suffix chooses the format.
        reader (`AudioReader`): must stay open until the writer is closed.
        file_format (`str`): `"same"` for a file like the input; otherwise only audio is written.
        track (`int`, *optional*): the number of the audio track that the reader reads, from 1.
        overwrite (`bool`, *optional*, defaults to `False`): replace an existing file.

    Returns:
        [`AudioWriter`] or [`VideoWriter`]. Both have `write(block)`, `close()`, `subtype` and `notes`.

    Raises:
        AudioError: see the two classes.
    """
    entry = FORMATS.get(PurePath(path).suffix[1:].lower())
    if file_format == SAME and entry is not None and entry.muxer is not None:
        from .video import VideoWriter  # it imports PyAV, which is slow

        return VideoWriter(
            path,
            reader.file,
            reader.sampling_rate,
            reader.channels,
            track=track,
            start=reader.start,
            overwrite=overwrite,
        )
    return AudioWriter(
        path,
        reader.sampling_rate,
        reader.channels,
        input_subtype=reader.subtype,
        seconds=reader.seconds,
        channel_mask=reader.channel_mask,
        overwrite=overwrite,
    )
