"""Makes the example sounds of the app from the card's recording: `python spaces/source_separation/examples.py`."""

from pathlib import Path

import numpy as np
import soundfile

from dse_hf.app.sounds import EXAMPLES
from dse_hf.data.augmentation import gain_for_snr
from dse_hf.data.noises import MainsHum


def main() -> None:
    card = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example"
    clean, rate = soundfile.read(card / "clean.wav", dtype="float32")
    noisy, _ = soundfile.read(card / "noisy.wav", dtype="float32")
    hum = MainsHum(rate)(len(clean), np.random.default_rng(2))
    hummed = clean + gain_for_snr(clean, hum, 0.0) * hum
    hummed *= min(1.0, 0.99 / np.abs(hummed).max())
    EXAMPLES.mkdir(exist_ok=True)
    for name, signal in {"clean": clean, "train": noisy, "hum": hummed}.items():
        soundfile.write(EXAMPLES / f"{name}.flac", signal, rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
