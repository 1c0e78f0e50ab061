"""What is evaluated: our models, the unprocessed input, and what a user would pick instead of them."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio import resample
from .peers import PEERS


INPUT = "input"


@dataclass
class System:
    r"""
    Something that separates. Subclasses have `separate`; they can be pickled, for other processes.

    Args:
        name (`str`): as the user gave it, and as the results have it.
        version (`str`): of its weights or its code: scores of another version are not its scores.
    """

    name: str
    version: str

    def separate(self, mixture: NDArray, sampling_rate: int, sources: list[str]) -> dict[str, NDArray]:
        """Estimates (C, T) of the sources that it gives of a `mixture` (C, T), float32; others are left out."""
        raise NotImplementedError(f"{type(self).__name__} has no separate")

    def check_sources(self, sources: list[str]) -> None:
        """Raises a `ValueError` if it cannot give these sources."""


def load_system(name: str, device: str = "auto") -> System:
    r"""
    Args:
        name (`str`): `"input"`, one of [`PEERS`], or what [`load_model`] takes. A folder of such a name is `./input`.
        device (`str`, *optional*, defaults to `"auto"`): of a model; the others compute on the CPU.

    Raises:
        ValueError: there is no such model, or the peer's package is not installed.
    """
    if name == INPUT:
        return UnprocessedInput(name, "1")
    if name in PEERS:
        try:
            return Peer(name, f"{PEERS[name].package} {importlib.metadata.version(PEERS[name].package)}")
        except importlib.metadata.PackageNotFoundError as error:
            reason = f"needs the package {PEERS[name].package}; run: {PEERS[name].install}"
            raise ValueError(f"model {name!r}: {reason}") from error
    from ..loading import load_model

    model = load_model(name, device)
    return SeparationModel(name, _version_of(model), model)


class UnprocessedInput(System):
    """Gives the mixture for every source: what any separation has to be better than."""

    def separate(self, mixture, sampling_rate, sources):
        return dict.fromkeys(sources, mixture)


@dataclass
class SeparationModel(System):
    """A model of ours, at its own sampling rate; `model` has [`SeparationMixin`]."""

    model: object

    def check_sources(self, sources):
        names = self.model.config.sources
        missing = [source for source in sources if source not in names]
        if missing:
            raise ValueError(f"model {self.name!r}: gives {', '.join(names)}, and not {', '.join(missing)}")

    def separate(self, mixture, sampling_rate, sources):
        self.check_sources(sources)
        names = self.model.config.sources
        rate = self.model.config.sampling_rate
        estimates = self._separate(resample(mixture.T, sampling_rate, rate).T)
        if rate != sampling_rate:
            estimates = {
                name: resample(estimate.T, rate, sampling_rate, mixture.shape[-1]).T
                for name, estimate in estimates.items()
            }
            # As in separate_file: what lies above the model's band stays in the last source.
            *predicted, last = names
            estimates[last] = mixture - sum(estimates[name] for name in predicted)
        return {source: estimates[source] for source in sources}

    def _separate(self, mixture: NDArray) -> dict[str, NDArray]:
        import torch

        device = next(self.model.parameters()).device
        waveform = torch.from_numpy(np.ascontiguousarray(mixture, np.float32)).to(device)
        estimates = self.model.separate(waveform, self.model.config.sampling_rate)
        return {name: estimate.float().cpu().numpy() for name, estimate in estimates.items()}


class Peer(System):
    """Another project's denoiser, from [`PEERS`]: it gives the first source, and the rest as the second of two."""

    def separate(self, mixture, sampling_rate, sources):
        peer = PEERS[self.name]
        rate = peer.sampling_rate or sampling_rate
        channels = []
        for channel in resample(mixture.T, sampling_rate, rate).T:
            # Its output comes late by `delay` samples: as many more go in, and the first ones out are dropped.
            delayed = peer.denoise(np.pad(channel, (0, peer.delay)), rate)
            channels.append(delayed[peer.delay : peer.delay + len(channel)])
        foreground = resample(np.stack(channels, axis=1), rate, sampling_rate, mixture.shape[-1]).T
        estimates = {sources[0]: foreground}
        if len(sources) == 2:
            estimates[sources[1]] = mixture - foreground
        return estimates


def _version_of(model) -> str:
    """A hash of a model's weights and of what its config says of it."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    fields = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_THE_MODEL}
    digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


_NOT_THE_MODEL = {"_name_or_path", "transformers_version", "auto_map"}
