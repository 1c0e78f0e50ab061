#!/usr/bin/env python3
"""Builds the corpus of speech and noise that the default model is trained on, from Debian packages.

    python model_cards/waveunet-speech-16khz/corpus.py corpus

downloads the packages (810 MB; nothing is installed), decodes them to 16 kHz mono FLAC, leaves out unfit recordings,
and writes two datasets in the audiofolder layout of `datasets`:

    corpus/speech/{train,validation,test}/*.flac + metadata.csv (file_name, speaker, language, package, …)
    corpus/noise/{train,validation,test}/*.flac  + metadata.csv (file_name, kind, package, …)
    corpus/corpus.json                           minutes by split, package and kind, and what was left out

Each voice, and each source of noise, is in one split only. The same packages give the same files. The script needs
apt-get and dpkg-deb to download. `--packages` names a folder of packages that are unpacked already, one folder for
each.
"""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from finding import find_noise, find_speech
from packages import Corpus, main


LICENCES = {
    "asterisk-core-sounds-en-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-es-g722": "CC-BY-SA-3.0",
    "asterisk-core-sounds-it-g722": "CC-BY-3.0",
    "asterisk-core-sounds-ru-g722": "CC-BY-3.0",
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0",
    "fillets-ng-data": "GPL-2+",
    "fillets-ng-data-cs": "GPL-2+",
    "fillets-ng-data-nl": "GPL-2+",
    "klettres-data": "GPL-2+",
    "ktuberling-data": "GPL-2+",
    "lincity-ng-data": "GPL-2+",
    "sonic-pi-samples": "CC0-1.0",
    "torcs-data": "GPL-2+",
    "wesnoth-1.16-data": "GPL-2+",
}

CORPUS = Corpus(16000, LICENCES, find_speech, find_noise)


if __name__ == "__main__":
    sys.exit(main(CORPUS, __doc__))
