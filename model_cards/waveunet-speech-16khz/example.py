#!/usr/bin/env python3
"""Writes the example recording of `make demo`: held-out speech in the noise of a train, and the speech alone.

python model_cards/waveunet-speech-16khz/example.py corpus
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from dse_hf.data.augmentation import gain_for_snr


HERE = Path(__file__).parent
SPEECH = "asterisk-it-sounds-it-IT-m-Carlo-queue-periodic-announce-g722-0.flac"
NOISE = "machine-lincity-ng-sounds-RailTrain{}-wav-0.flac"
SNR_DB = 5.0


def main(corpus: Path) -> None:
    speech, rate = soundfile.read(corpus / "speech/test" / SPEECH, dtype="float32")
    trains = [soundfile.read(corpus / "noise/test" / NOISE.format(n), dtype="float32")[0] for n in (1, 2, 3)]
    noise = np.resize(np.concatenate(trains), len(speech))
    noise = noise * gain_for_snr(speech, noise, SNR_DB)
    scale = 0.7 / np.abs(speech + noise).max()
    (HERE / "example").mkdir(exist_ok=True)
    for name, samples in (("clean", speech), ("noisy", speech + noise)):
        soundfile.write(HERE / "example" / f"{name}.wav", samples * scale, rate, subtype="PCM_16")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "corpus"))
