"""Gives what a film holds beside the audio track that is replaced: its packets in their order, and their tags."""

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import av
from av.stream import Discard

from ..models.audio_ffmpeg import default_track
from ..models.audio_files import AudioError, SeekableAnywhere, broken_off
from ..models.audio_formats import ffmpeg_demuxers
from .shared_file import SharedFile


# Tags of a track that describe the encoding that is replaced.
_ABOUT_ENCODING = ("ENCODER", "DURATION", "BPS", "NUMBER_OF_", "_STATISTICS")
_PACKETS_BEFORE_COVERS = 100


class FilmSource:
    """A film that is copied.

    Args:
        source (`str`, `os.PathLike` or a binary file object that can seek): the film.
        track (`int`, *optional*): the number of the audio track that is replaced, from 1.

    Attributes:
        container (`av.container.InputContainer`), track (`av.audio.AudioStream`): the film and the audio track.
        begin, track_start (`Fraction`): when they start, in seconds.
        bit_rate (`int`): of the track, in bits/s; 0 if unknown.
    """

    def __init__(self, source, track: int | None):
        with contextlib.ExitStack() as stack:
            if isinstance(source, (str, os.PathLike)):
                self.name, file = os.fspath(source), stack.enter_context(open(source, "rb"))
            else:
                self.name, file = str(getattr(source, "name", "video")), source
            self._file = file
            self.container = stack.enter_context(self._opened())
            tracks = self.container.streams.audio
            chosen = default_track(self.container) if track is None else None
            if track is not None and 1 <= track <= len(tracks):
                chosen = tracks[track - 1]
            if chosen is None or chosen.codec_context is None:
                raise AudioError(f"{self.name}: has no audio track {track or 1}; give a file with sound")
            self.track: Any = chosen
            self.begin = Fraction(self.container.start_time or 0, 1_000_000)
            self.track_start = Fraction(chosen.start_time or 0) * chosen.time_base
            self.bit_rate = chosen.codec_context.bit_rate or self._measured_bit_rate()
            self._packets, self._waiting = self._demuxed(), deque()
            self._stack = stack.pop_all()

    def _opened(self) -> Any:
        try:
            options = {"format_whitelist": ffmpeg_demuxers()}
            file: Any = SharedFile(self._file)
            return av.open(SeekableAnywhere(file), options=options, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise AudioError(f"{self.name}: not a video that can be read, or damaged; get it again") from error

    def _measured_bit_rate(self) -> int:
        """The bit rate of the first 200 packets of the track."""
        with self._opened() as container:
            stream = container.streams[self.track.index]
            packets = [packet for packet in islice(container.demux(stream), 200) if packet.pts is not None]
            seconds = float((packets[-1].pts - packets[0].pts) * stream.time_base) if packets else 0
            return round(8 * sum(packet.size for packet in packets[:-1]) / seconds) if seconds > 0 else 0

    def tags_of(self, stream) -> dict[str, str]:
        """The tags of a stream for the output."""
        if stream.index != self.track.index:
            return dict(stream.metadata)
        return {key: text for key, text in stream.metadata.items() if not key.upper().startswith(_ABOUT_ENCODING)}

    def is_derived(self, stream) -> bool:
        """Whether a data stream holds the titles of the chapters, or the time code of the first picture.

        The muxer makes them again from the chapters and tags.
        """
        return "timecode" in stream.metadata or (bool(self.container.chapters()) and stream.discard == Discard.all)

    def cover(self, index: int) -> bytes:
        """The picture of a cover's stream. It is in the first packets."""
        for packet in islice(self._packets, _PACKETS_BEFORE_COVERS):
            self._waiting.append(packet)
            if packet.stream_index == index:
                break
        return next((bytes(packet) for packet in self._waiting if packet.stream_index == index), b"")

    def packets_until(self, seconds: float) -> Iterator:
        """Yields the next packets of the other streams, as far as they are to be decoded at this time or before."""
        while True:
            if not self._waiting:
                packet = next(self._packets, None)
                if packet is None:
                    return
                self._waiting.append(packet)
            packet = self._waiting[0]
            time = packet.pts if packet.dts is None else packet.dts
            if time is not None and float(time * packet.time_base) > seconds:
                return
            yield self._waiting.popleft()

    def _demuxed(self) -> Iterator:
        reached = 0.0
        try:
            for packet in self.container.demux():
                is_end = packet.size == 0 and packet.dts is None
                if packet.stream_index != self.track.index and not is_end:
                    reached = float((packet.dts or 0) * packet.time_base)
                    yield packet
        except av.error.FFmpegError as error:
            raise broken_off(self.name, reached, None) from error

    def __enter__(self) -> "FilmSource":
        return self

    def __exit__(self, *exception) -> None:
        self._stack.close()
