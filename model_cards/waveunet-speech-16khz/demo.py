#!/usr/bin/env python3
"""Separates the example recording and prints the gain. `make demo` runs it.

python model_cards/waveunet-speech-16khz/demo.py demo
"""

import contextlib
import io
import sys
from pathlib import Path

import soundfile
import torch

from dse_hf.cli import main as dse_hf
from dse_hf.evaluation import metrics
from dse_hf.evaluation.figures import save_figure, spectrogram_figure


EXAMPLE = Path(__file__).parent / "example"


def main(folder: Path) -> int:
    with contextlib.redirect_stdout(io.StringIO()):  # the two lines below are the output of the demo
        status = dse_hf(["separate", str(EXAMPLE / "noisy.wav"), "-o", str(folder), "--overwrite"])
    if status:
        return status
    names = {"before": EXAMPLE / "noisy.wav", "after": folder / "noisy.foreground.wav"}
    signals, rate = {}, 0
    for title, path in names.items():
        signals[title], rate = soundfile.read(path, dtype="float32")
    picture = folder / "noisy.png"
    save_figure(spectrogram_figure({f"{k}: {v.name}": signals[k] for k, v in names.items()}, rate), picture)
    clean = torch.from_numpy(soundfile.read(EXAMPLE / "clean.wav", dtype="float32")[0])
    before, after = (float(metrics.si_sdr(torch.from_numpy(signals[key]), clean)) for key in names)
    print(f"Wrote {folder}/noisy.foreground.wav, noisy.background.wav and noisy.png (spectrograms before and after).")
    print(
        f"SI-SDR against the clean original: {before:.1f} dB before, {after:.1f} dB after: {after - before:+.1f} dB."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
