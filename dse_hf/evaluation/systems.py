"""The systems that an evaluation measures: our models, the unprocessed input, and other projects' denoisers."""

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audio import resample
from .peers import INPUT, PEERS, PeerAdapter, known_systems


_NOT_THE_MODEL = {"_name_or_path", "transformers_version", "auto_map"}  # fields of a config
_ADDED_LATER = {"bands": 1, "bias": True}  # fields that do not count at these values, so that older scores stay valid


@dataclass
class System:
    """Something that separates a mixture. Subclasses implement `separate`, and can be pickled for other processes."""

    name: str  # as the user gave it; the results have it too
    version: str  # identifies the weights or the code: scores of another version are computed again

    def separate(self, mixture: NDArray, sampling_rate: int, sources: list[str]) -> dict[str, NDArray]:
        """Separates a `mixture` (C, T), float32. Returns source → estimate (C, T), without sources it cannot give."""
        raise NotImplementedError(f"{type(self).__name__} has no separate")

    def check_sources(self, sources: list[str]) -> None:
        """Raises a ValueError if the system cannot give these sources."""


def load_system(name: str, device: str = "auto") -> System:
    r"""
    Args:
        name (`str`): a name that [`known_systems`] lists, or a model, as for [`load_model`]. A folder that is called
            `input` is `./input`.
        device (`str`, *optional*, defaults to `"auto"`): the device of a model; other systems run on the CPU.

    Raises:
        ValueError: there is no such system, or the package of a peer is not installed.
    """
    from ..loading import UnknownModelError, load_model

    if name == INPUT:
        return UnprocessedInput(name, "1")
    if name in PEERS:
        peer = PEERS[name]
        try:
            return Peer(name, f"{peer.package} {importlib.metadata.version(peer.package)}", peer)
        except importlib.metadata.PackageNotFoundError as error:
            raise ValueError(f"model {name!r}: needs the package {peer.package}; run: {peer.install}") from error
    try:
        model = load_model(name, device)
    except UnknownModelError as error:
        raise ValueError(f"{error}, or one of {', '.join(known_systems())}") from error
    return SeparationModel(name, _version_of(model), model)


class UnprocessedInput(System):
    """Gives the mixture itself for every source. A useful system scores higher."""

    def separate(self, mixture, sampling_rate, sources):
        return dict.fromkeys(sources, mixture)


@dataclass
class SeparationModel(System):
    """A model of ours, which runs at its own sampling rate. `model` has [`SeparationMixin`]."""

    model: Any

    def check_sources(self, sources):
        names = self.model.config.sources
        missing = [source for source in sources if source not in names]
        if missing:
            raise ValueError(f"model {self.name!r}: gives {', '.join(names)}, and not {', '.join(missing)}")

    def separate(self, mixture, sampling_rate, sources):
        self.check_sources(sources)
        import torch

        from ..models.modeling_separation import rest_of_mixture

        rate, device = self.model.config.sampling_rate, next(self.model.parameters()).device
        waveform = np.ascontiguousarray(resample(mixture.T, sampling_rate, rate).T, np.float32)
        predicted = self.model.separate(torch.from_numpy(waveform).to(device), rate, last_source=False)
        estimates = {
            name: resample(estimate.float().cpu().numpy().T, rate, sampling_rate, mixture.shape[-1]).T
            for name, estimate in predicted.items()
        }
        # At the rate of the mixture, as in separate_file: what lies above the model's band stays in the last source.
        estimates[self.model.config.sources[-1]] = rest_of_mixture(mixture, estimates.values())
        return {source: estimates[source] for source in sources}


@dataclass
class Peer(System):
    """Another project's denoiser. It gives the first source, and if there are two, the rest as the second."""

    peer: PeerAdapter

    def separate(self, mixture, sampling_rate, sources):
        from ..models.modeling_separation import rest_of_mixture

        rate, delay = self.peer.sampling_rate or sampling_rate, self.peer.delay
        channels = []
        for channel in resample(mixture.T, sampling_rate, rate).T:
            # The output lags: `delay` zeros follow the input, and as many samples of the output are dropped first.
            delayed = self.peer.denoise(np.pad(channel, (0, delay)), rate)
            channels.append(delayed[delay : delay + len(channel)])
        foreground = resample(np.stack(channels, axis=1), rate, sampling_rate, mixture.shape[-1]).T
        estimates = {sources[0]: foreground}
        if len(sources) == 2:
            estimates[sources[1]] = rest_of_mixture(mixture, [foreground])
        return estimates


def _version_of(model) -> str:
    """A hash of a model's weights and of its config, without the fields that do not describe the network."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    fields = {key: value for key, value in model.config.to_dict().items() if key not in _NOT_THE_MODEL}
    fields = {key: value for key, value in fields.items() if key not in _ADDED_LATER or value != _ADDED_LATER[key]}
    digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]
