"""SI-SDR of the example at many levels: `python tests/benchmarks/levels.py`."""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch

from dse_hf.evaluation.metrics import si_sdr
from dse_hf.loading import DEFAULT_MODEL, load_separator


EXAMPLE = Path(__file__).parents[2] / "model_cards" / "waveunet-speech-16khz" / "example"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--levels", type=float, nargs="+", default=[*range(-80, 0, 5), -2, 4], help="RMS in dBFS")
    args = parser.parse_args()
    model = load_separator(args.model)
    noisy, rate = soundfile.read(EXAMPLE / "noisy.wav")
    clean, _ = soundfile.read(EXAMPLE / "clean.wav")
    for level in args.levels:
        gain = 10 ** (level / 20) / np.sqrt(np.mean(noisy**2))
        foreground = model.separate(torch.tensor(gain * noisy).float()[None], rate)["foreground"][0]
        score = si_sdr(foreground.double(), torch.tensor(clean))
        print(f"{level:g} dBFS, peak {20 * np.log10(gain * np.abs(noisy).max()):.1f} dBFS: {score:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
