"""The order of the channels of a file, and the loudspeakers that they belong to.

Samples are in the order of wav everywhere: front left, front right, front centre, LFE, back left, back right and so
on. A channel mask has a bit for each of these loudspeakers, the first one the lowest, as `WAVE_FORMAT_EXTENSIBLE`.
"""

import struct
from typing import BinaryIO


# The loudspeakers by FFmpeg's names, in the order of the bits of a mask.
_SPEAKERS = [
    "FL",
    "FR",
    "FC",
    "LFE",
    "BL",
    "BR",
    "FLC",
    "FRC",
    "BC",
    "SL",
    "SR",
    "TC",
    "TFL",
    "TFC",
    "TFR",
    "TBL",
    "TBC",
    "TBR",
]
# Number of channels → the place of each channel of wav among those of Vorbis and Opus, in ogg. Others are the same.
VORBIS_ORDER = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}
# The masks of these files, which have no other. Vorbis and Opus do not define more channels.
VORBIS_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}
# Apple's layouts whose channels are in the order of wav → their masks.
_APPLE_MASKS = {
    **{101 << 16 | 2: 0x3, 108 << 16 | 4: 0x33, 113 << 16 | 3: 0x7, 115 << 16 | 4: 0x107, 117 << 16 | 5: 0x37},
    **{121 << 16 | 6: 0x3F, 125 << 16 | 7: 0x13F, 126 << 16 | 8: 0xFF},
}
_APPLE_BITMAP = 1 << 16  # the layout that gives a mask


def mask_of_speakers(names: list[str]) -> int | None:
    """The mask of loudspeakers by FFmpeg's names; `None` for mono and stereo, and if they are not in its order."""
    places = [_SPEAKERS.index(name) if name in _SPEAKERS else -1 for name in names]
    if len(places) < 3 or places[0] < 0 or places != sorted(set(places)):
        return None
    return sum(1 << place for place in places)


def aiff_channel_mask(file: BinaryIO) -> int | None:
    """The mask that an aiff file gives in its chunk `CHAN`. (That of libsndfile's command is memory it has freed.)"""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "big")
        if head[:4] == b"CHAN" and len(content := file.read(8)) == 8:
            layout, mask = struct.unpack(">II", content)
            return mask if layout == _APPLE_BITMAP else _APPLE_MASKS.get(layout)
        file.seek(size + size % 2, 1)
    return None


def write_channel_mask(file: BinaryIO, container: str, mask: int) -> None:
    """Writes a mask into a complete file of libsndfile's containers `WAVEX`, `RF64` or `AIFF`."""
    if container == "AIFF":
        size = file.seek(0, 2)
        file.write(b"CHAN" + struct.pack(">IIII", 12, _APPLE_BITMAP, mask, 0))
        file.seek(4)
        file.write(struct.pack(">I", size + 12))
    else:
        file.seek(0)
        header = file.read(200)
        file.seek(header.index(b"fmt ") + 28)
        file.write(struct.pack("<I", mask))
