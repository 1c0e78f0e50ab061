#!/usr/bin/env python3
"""Builds the full-band corpus of speech and noise for a model at 48 kHz, from Debian packages.

    python model_cards/waveunet-speech-48khz/corpus.py corpus48

downloads the packages (2.5 GB; nothing is installed), decodes them to 48 kHz mono FLAC, leaves out unfit recordings,
and writes two datasets in the audiofolder layout of `datasets`:

    corpus48/speech/{train,validation,test}/*.flac + metadata.csv (file_name, speaker, language, package, …)
    corpus48/noise/{train,validation,test}/*.flac  + metadata.csv (file_name, kind, package, …)
    corpus48/corpus.json                           minutes by split, package, kind and bandwidth; what was left out

Many recordings end below 24 kHz. The column `bandwidth` of the tables says where, in Hz (`model_cards/bandwidth.py`).

Each voice, and each source of noise, is in one split only. What the 16 kHz corpus holds out is held out here as well.
The same packages give the same files. The script needs apt-get and dpkg-deb to download. `--packages` names a folder
of packages that are unpacked already, one folder for each. At the end, and for a corpus that exists, the
script prints the table of `CORPUS.md`.
"""

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import finding
from bandwidth import bandwidth
from corpus_tables import print_markdown
from packages import Corpus, Recording, main


LICENCES = {
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-it-g722": "CC-BY-3.0",
    "asterisk-core-sounds-ru-g722": "CC-BY-3.0",
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0",
    "bucklespring-data": "GPL-2+",
    "endless-sky-data": "GPL-3+, CC-BY-SA-4.0, CC-BY-SA-3.0, public domain",
    "festvox-ru": "BSD-like",
    "fillets-ng-data": "GPL-2+",
    "fillets-ng-data-cs": "GPL-2+",
    "fillets-ng-data-nl": "GPL-2+",
    "flare-game": "CC-BY-SA-3.0+",
    "gcin-voice": "GPL-3, CC-BY-3.0",
    "hedgewars-data": "GFDL-1.3, CC-BY-SA-3.0",
    "hydrogen-drumkits": "GPL-2, GPL-2+, CC-BY-3.0, CC-BY-SA-3.0, CC0-1.0",
    "klettres-data": "GPL-2+",
    "ktuberling-data": "GPL-2+",
    "lincity-ng-data": "GPL-2+",
    "lomiri-sounds": "CC-BY-SA-3.0, CC-BY-4.0",
    "megaglest-data": "CC-BY-SA-3.0",
    "sonic-pi-samples": "CC0-1.0",
    "supertuxkart-data": "CC-BY-SA-3.0, CC-BY-SA-4.0, CC-BY-3.0, GPL-2+, CC0-1.0",
    "tuxpaint-stamps-default": "GPL-2",
    "widelands-data": "GPL-2+, CC-BY-SA-3.0",
}
SUFFIXES = (".wav", ".ogg", ".flac", ".mp3", ".aiff", ".opus")


@dataclass(frozen=True)
class Voices:
    """The speech of a package. The groups `speaker` and `language` of the pattern are those of a path that matches."""

    package: str
    split: str
    pattern: str
    language: str = ""


@dataclass(frozen=True)
class Noises:
    """The noise of a package. The first kind whose pattern is found in the path is that of the file."""

    package: str
    split: str
    kinds: dict[str, str]


VOICES = (
    # One speaker for each language. Languages with less than two minutes are left out.
    Voices("tuxpaint-stamps-default", "train", r"/stamps/.*_desc_(?P<language>be|bg|ca|da|el|es|fr|ro|ru)\.ogg$"),
    # The replies of the human units. Their language is an invented one.
    Voices(
        "megaglest-data",
        "train",
        r"/(?!chicken|pig|cow|bull|sheep|eagle|dragon|evil|dr_|behemoth|golem|daemon|mummy|ghost|orni|genie|machine)"
        r"(?P<speaker>[a-z_]+?)_(ack|select)\d*\.wav$",
        "und",
    ),
    Voices("festvox-ru", "train", r"/wav/ru_\d+\.wav$", "ru"),
    Voices("gcin-voice", "validation", r"/ogg/[^/]+/(?P<speaker>\d)\.ogg$", "zh"),
    # Robot is left out: it is processed. Russian speaks English, with an accent.
    Voices(
        "hedgewars-data",
        "test",
        r"/voices/(?!Robot)(?P<speaker>[A-Za-z]+(_(?P<language>[a-z]{2}))?)/[^/]+\.ogg$",
        "en",
    ),
)

NOISES = (
    Noises("bucklespring-data", "train", {"keyboard": r"\.wav$"}),
    Noises(
        "endless-sky-data",
        "train",
        {"machine": r"machinery|drive|takeoff|landing|afterburner|jump|scan", "effects": r"/sounds/"},
    ),
    Noises("hydrogen-drumkits", "train", {"drums": r"/drumkits/"}),
    Noises("lomiri-sounds", "train", {"music": r"/ringtones/", "effects": r"/(notifications|camera)/"}),
    Noises(
        "megaglest-data",
        "train",
        {
            "music": r"/music/",
            "nature": r"/tilesets/(?!.*good_morning)|/water_sounds/|/(chicken|pig|cow|bull|sheep|bee|eagle)\w*\.wav$",
            "machine": r"/(machine|airship|orni)_\w+\.wav$",
            "effects": r"/menu/sound/|/(anvil|arrow_hit|catapult|tower|tech_building|magic_building|worker_mine)"
            r"|/worker_harvest",
        },
    ),
    Noises(
        "widelands-data",
        "train",
        {
            "music": r"/music/",
            "crowd": r"/taverns/",
            "nature": r"/(animals|farm|critters|fisher)/",
            "machine": r"/(saw|sawmill|mill|smiths|barbarians)/",
            "effects": r"/sound/",
        },
    ),
    Noises(
        "flare-game",
        "validation",
        {
            "nature": r"/music/wind_ambient|(rain|owl|river|bird|fire|wind|raven|droplets)\w*\.ogg$",
            "music": r"/music/",
            "effects": r"/soundfx/(?!npcs|(fe)?male_)",
        },
    ),
    Noises("hedgewars-data", "test", {"music": r"/Music/", "effects": r"/Sounds/(?!voices|hogchant|hell_)[^/]+$"}),
    Noises(
        "supertuxkart-data",
        "test",
        {
            "music": r"/music/|Gran_Paradiso|Battle_Theme|beneath_the_rabbit|/intro2|gnu_flute|fanfare|track_intro",
            "crowd": r"restaurant|airport|fireworks",
            "machine": r"engine|Engine|Locomotive|car_|machine|clock|skid|radio|spaceship",
            "nature": r"river|waterfall|birds|rain|thunder|splash|sheep|cow\.",
            "effects": r"/(sfx|tracks)/(?!.*(speech|Wilhelm|ugh|wee|start_race))",
        },
    ),
)

# In ktuberling, languages that the 16 kHz corpus trains on. These are full band, and klettres does not have them.
KTUBERLING_TEST = {"el", "ro", "sl", "wa"}


def find_speech(packages: Path) -> list[Recording]:
    """Returns the speech of the 16 kHz corpus, and that of `VOICES`."""
    found = []
    for recording in finding.find_speech(packages):
        if recording.package == "ktuberling-data" and recording.split == "train":
            if dict(recording.labels)["language"] in KTUBERLING_TEST:
                found.append(Recording(recording.path, recording.package, "test", recording.labels))
        else:
            found.append(recording)
    for voices in VOICES:
        for path in _files(packages / voices.package):
            match = re.search(voices.pattern, path.as_posix())
            if match:
                groups = {key: value for key, value in match.groupdict().items() if value}
                language = groups.get("language", voices.language)
                speaker = "-".join((voices.package.split("-")[0], groups.get("speaker", language)))
                labels = (("speaker", speaker), ("language", language))
                found.append(Recording(path, voices.package, voices.split, labels))
    return [replace(recording, checksum=True) for recording in found]


def find_noise(packages: Path) -> list[Recording]:
    """Returns the noise of the 16 kHz corpus from packages in `LICENCES`, and that of `NOISES`.

    File names that the 16 kHz corpus holds out are held out of the training split in the other packages as well.
    """
    found = [recording for recording in finding.find_noise(packages) if recording.package in LICENCES]
    for noises in NOISES:
        for path in _files(packages / noises.package):
            kind = next((kind for kind, names in noises.kinds.items() if re.search(names, path.as_posix())), None)
            if kind:
                split = finding.split_of_noise(path.name) if noises.split == "train" else noises.split
                found.append(Recording(path, noises.package, split, (("kind", kind),)))
    return [replace(recording, checksum=True) for recording in found]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


CORPUS = Corpus(48000, LICENCES, find_speech, find_noise, {"bandwidth": bandwidth})


if __name__ == "__main__":
    sys.exit(main(CORPUS, __doc__, print_markdown))
