"""Ogg chains: several ogg files in a row, as joined files and recordings of web radio are."""

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from .audio_files import AudioError
from .audio_libsndfile import SoundFileDecoder


def ogg_links(file: BinaryIO, name: str) -> list[tuple[int, int]]:
    """The first byte of each link of an ogg file and the one after it. Empty if something else follows the pages.

    Reads the header of every page. A file that ends within a page raises an error. (A file without the end mark may be
    a stopped recording.)
    """
    size, position, in_headers, starts = file.seek(0, os.SEEK_END), 0, False, []
    while position < size:
        file.seek(position)
        page = file.read(27 + 255)  # 27 bytes, the last of which is the number of segments, then their lengths
        if page[:4] != b"OggS":
            return []  # which the decoder may judge
        starts_stream = len(page) > 5 and bool(page[5] & 2)
        if starts_stream and not in_headers:
            starts.append(position)
        in_headers = starts_stream
        whole = len(page) >= 27
        position += 27 + page[26] + sum(page[27 : 27 + page[26]]) if whole else 0
        if not whole or position > size:
            raise AudioError(f"{name}: breaks off in the middle of an ogg page; get it again")
    return list(pairwise([*starts, size]))


class OggChainDecoder:
    """Reads the links of an ogg chain one after another with libsndfile, each to its own end."""

    start = 0.0

    def __init__(self, file: BinaryIO, name: str, links: list[tuple[int, int]]):
        self.name, self._file, self._links = name, file, links
        frames = 0
        for place, link in enumerate(links):
            decoder = SoundFileDecoder(file, name, part=link)
            decoder.close()
            if place == 0:
                self.sampling_rate, self.channels = decoder.sampling_rate, decoder.channels
                self.subtype, self.channel_mask = decoder.subtype, decoder.channel_mask
            elif (decoder.sampling_rate, decoder.channels) != (self.sampling_rate, self.channels):
                raise AudioError(
                    f"{name}: changes its sampling rate or channels at {frames / self.sampling_rate:.1f} s; "
                    "export it again with one of each"
                )
            frames += decoder.frames or 0
        self.frames, self.seconds = frames, frames / self.sampling_rate

    def skip_to(self, frame: int) -> int:
        """Returns 0: reading starts at the first frame."""
        return 0

    def blocks(self, frames: int, dtype: str) -> Iterator[np.ndarray]:
        for link in self._links:
            decoder = SoundFileDecoder(self._file, self.name, part=link)
            try:
                yield from decoder.blocks(frames, dtype)
            finally:
                decoder.close()

    def close(self) -> None:
        pass
