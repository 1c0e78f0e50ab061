"""Hostile model folders and checkpoints. None may run code or fill the memory. Each is refused in one line."""

import functools
import io
import json
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

import dse_hf
from dse_hf.convert.libdse import convert_checkpoint

from .trials import RIGHT, Case, Failure, Trial, check, refusal


WEIGHTS = "model.safetensors"


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@functools.cache
def good_folder() -> Path:
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="dse-hf-good-"))
    dse_hf.WaveUNetModel(dse_hf.WaveUNetConfig(num_layers=2, channel_growth=4)).save_pretrained(folder)
    return folder


def good_weights() -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(good_folder() / WEIGHTS)


def edit_config(folder: Path, **fields) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def pickled(disguise: str, marker: Path) -> bytes:
    """A pickle that runs code, in the formats of torch, bare, or in a zip file."""
    content = io.BytesIO()
    state = {**good_weights(), "network.encoder.0.bias": Evil(marker)}
    if disguise == "torch":
        torch.save(state, content)
    elif disguise == "old torch":
        torch.save(state, content, _use_new_zipfile_serialization=False)
    elif disguise == "pickle":
        pickle.dump(Evil(marker), content)
    else:
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Evil(marker)))
            archive.writestr("archive/version", "3\n")
    return content.getvalue()


DISGUISES = ("torch", "old torch", "pickle", "zip")


def safetensors_file(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


# ── Functions that spoil a folder ──


def pickle_as_safetensors(folder: Path, case: Case, marker: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickled(str(case.rng.choice(DISGUISES)), marker))


def pickle_instead(folder: Path, case: Case, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    names = ("pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "tf_model.h5", "flax_model.msgpack")
    name = str(case.rng.choice(names))
    (folder / name).write_bytes(pickled(str(case.rng.choice(DISGUISES)), marker))
    if case.rng.random() < 0.3:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": name}, "metadata": {}}))
    if case.rng.random() < 0.3:
        edit_config(folder, use_safetensors=False, weights_only=False)


def pickle_beside(folder: Path, case: Case, marker: Path) -> None:
    """A pickle beside damaged safetensors, as a bait for a fallback."""
    pickle_instead(folder, case, marker)
    (folder / WEIGHTS).write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")


def pickle_by_index(folder: Path, case: Case, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    places = ("pytorch_model.bin", "../outside.safetensors", "/tmp/x.safetensors", "a/b.safetensors", "", "..", ".")
    place = str(case.rng.choice([*places, "a\\b.safetensors", "a\nb.safetensors", "model.safetensors\0", "shard.bin"]))
    for target in (folder / "pytorch_model.bin", folder.parent / "outside.safetensors", folder / "shard.bin"):
        target.write_bytes(pickled("torch", marker))
    index = {"weight_map": dict.fromkeys(good_weights(), place), "metadata": {"total_size": 1}}
    spoilt = ([], {}, {"weight_map": 5}, {"weight_map": {"a": 5}}, {"weight_map": ["a"]}, index, index, index, index)
    chosen = spoilt[case.rng.integers(len(spoilt))]
    (folder / "model.safetensors.index.json").write_text(json.dumps(chosen))


def lying_header(folder: Path, case: Case, marker: Path) -> None:
    rng, (name, tensor) = case.rng, next(iter(good_weights().items()))
    entry = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [0, tensor.nbytes]}
    content = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    names = [key for key in header if key != "__metadata__"]
    other = str(rng.choice(names))
    lies = (
        lambda: safetensors_file(header, data, length=int(rng.choice([0, 1, 2**31, 2**62, length - 1, length + 1]))),
        lambda: safetensors_file(header, data, length=2**63),
        lambda: safetensors_file({**header, other: {**header[other], "shape": [2**40, 2**40]}}, data),
        lambda: safetensors_file({**header, other: {**header[other], "shape": [10**9]}}, data),
        lambda: safetensors_file({**header, other: {**header[other], "data_offsets": [0, 2**62]}}, data),
        lambda: safetensors_file({**header, other: {**header[other], "data_offsets": [100, 4]}}, data),
        lambda: safetensors_file({**header, other: {**header[other], "data_offsets": [-1, 4]}}, data),
        lambda: safetensors_file({**header, other: header[names[0]]}, data),
        lambda: safetensors_file({**header, other: {**header[other], "dtype": "F99"}}, data),
        lambda: safetensors_file({**header, other: {**header[other], "dtype": "I32"}}, data),
        lambda: safetensors_file({name: entry, "x" * 10**6: entry}, data),
        lambda: safetensors_file({name: {**entry, "shape": [1] * 10**5}}, data),
        lambda: safetensors_file(b"[" * 10**5, data),
        lambda: safetensors_file(b'{"a":' * 10**5, data),
        lambda: safetensors_file({"__metadata__": {"format": "pickle"}, **header}, data[:-4]),
        lambda: safetensors_file({f"t{k}": entry for k in range(10**4)}, data),
        lambda: safetensors_file({}, b""),
        lambda: safetensors_file(b"", b""),
        lambda: b"",
        lambda: content[: int(rng.integers(len(content)))],
        lambda: content + bytes(1000),
        lambda: rng.bytes(1000),
    )
    (folder / WEIGHTS).write_bytes(lies[rng.integers(len(lies))]())


def other_weights(folder: Path, case: Case, marker: Path) -> None:
    rng, weights = case.rng, good_weights()
    name = str(rng.choice(list(weights)))
    changes = (
        lambda tensor: None,
        lambda tensor: torch.full_like(tensor, float(rng.choice([np.nan, np.inf, -np.inf]))),
        lambda tensor: torch.zeros(10, *tensor.shape),
        lambda tensor: tensor[:0],
        lambda tensor: tensor.to(torch.int64),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor > 0,
        lambda tensor: tensor.reshape(-1)[0].clone(),
    )
    changed = changes[rng.integers(len(changes))](weights.pop(name))
    if changed is not None:
        weights[name] = changed.contiguous()
    if rng.random() < 0.2:
        weights["../../evil"] = torch.zeros(1)
    safetensors.torch.save_file(weights, folder / WEIGHTS, metadata={"format": str(rng.choice(["pt", "tf", "x"]))})


def hostile_config(folder: Path, case: Case, marker: Path) -> None:
    rng = case.rng
    code = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    fields = (
        *({"num_layers": 10**6}, {"num_layers": 20}, {"channel_growth": 10**9}),
        *({"num_labels": 10**9}, {"sampling_rate": 0}),
        *({"num_layers": 20, "downsampling_kernel_size": 255}, {"channels": 10**6}, {"sources": ["../../a", "b"]}),
        *({"model_type": "nonsense", "auto_map": code}, {"model_type": "bert", "auto_map": code, "vocab_size": 10**9}),
        *({"model_type": None, "auto_map": code}, {"model_type": "bert", "num_labels": 10**9}, {"id2label": 5}),
        *({"model_type": ["waveunet"]}, {"model_type": "dae"}, {"model_type": "bert", "num_hidden_layers": 10**8}),
        *({"dtype": "nope"}, {"dtype": "__class__"}, {"model_type": "x" * 10**6}, {"model_type": "../../x"}),
        *({"quantization_config": {"quant_method": "bitsandbytes"}}, {"quantization_config": 5}),
        *({"id2label": {str(k): "x" * 100 for k in range(10**5)}}, {"sources": [f"s{k}" for k in range(10**5)]}),
        *({"model_type": "encoder-decoder"}, {"model_type": "timm_wrapper", "architecture": "evil"}),
    )
    config = folder / "config.json"
    texts = ("", "null", "[]", "5", '"a"', "{}", "{", "NaN", "\ufeff{}")
    changes = (
        *(functools.partial(edit_config, folder, **changed) for changed in fields),
        lambda: config.write_text('{"a":' * 10**5 + "1" + "}" * 10**5),
        lambda: config.write_text("[" * 10**5),
        lambda: config.write_bytes(rng.bytes(1000)),
        lambda: config.write_text(str(rng.choice(texts))),
        lambda: config.write_text('{"num_layers": ' + "9" * 10**5 + "}"),
        lambda: (config.write_bytes(b""), os.truncate(config, 2**33)),  # zeros that take no space on the disk
        lambda: (config.unlink(), config.mkdir()),
        lambda: (config.unlink(), config.symlink_to(case.folder / "nowhere")),
    )
    changes[rng.integers(len(changes))]()


def links(folder: Path, case: Case, marker: Path) -> None:
    """Links to other things than models: secrets, devices, themselves."""
    secret = case.folder / "secret.txt"
    secret.write_text("hunter2 " * 100)
    name = str(case.rng.choice([WEIGHTS, "config.json"]))
    (folder / name).unlink()
    targets = (secret, "/dev/zero", "/dev/null", folder, folder / name, case.folder / "gone", "/proc/self/mem")
    (folder / name).symlink_to(targets[case.rng.integers(len(targets))])


SPOILT = (
    *(pickle_as_safetensors, pickle_instead, pickle_beside, pickle_by_index),
    *(lying_header, lying_header, other_weights, hostile_config, hostile_config, links),
)
# These may leave the model intact, or make another intact one.
MAY_BE_RIGHT = (other_weights, hostile_config, lying_header, links)


def run_folder(case: Case) -> str:
    """Hostile folders for `load_model`."""
    folder, marker = case.folder / "model", case.folder / "CODE HAS RUN"
    shutil.copytree(good_folder(), folder)
    spoil = case.pick(SPOILT)
    spoil(folder, case, marker)
    try:
        network = dse_hf.load_model(folder, device="cpu")
    except Exception as error:
        check(not marker.exists(), "code of the folder was run")
        check("hunter2" not in str(error), "the message tells a secret")
        return refusal(error)
    check(not marker.exists(), "code of the folder was run")
    check(spoil in MAY_BE_RIGHT, f"{spoil.__name__}: a model was loaded")
    sources = network.separate(torch.full((1, 50), 0.1), network.config.sampling_rate)
    check(all(source.isfinite().all() for source in sources.values()), "the model gives NaN")
    return RIGHT


def hostile_checkpoint(case: Case, marker: Path) -> bytes:
    rng = case.rng
    state = {name.removeprefix("network."): tensor for name, tensor in good_weights().items()}
    whole = io.BytesIO()
    torch.save(state, whole)
    content = bytearray(whole.getvalue())
    choice = rng.integers(5)
    if choice == 0:
        return pickled(str(rng.choice(DISGUISES)), marker)
    if choice == 1:
        for _ in range(int(rng.integers(1, 30))):
            content[rng.integers(len(content))] = rng.integers(256)
        return bytes(content)
    if choice == 2:
        return bytes(content[: rng.integers(len(content))])
    name = str(rng.choice(list(state)))
    changes = (torch.zeros(1).expand(10**6, 10**6), torch.full_like(state[name], np.nan), 5, None, {}, torch.zeros(()))
    changes += (state[name].to_sparse(), state[name].long(), torch.zeros(1, 1, 1, 1), torch.zeros(0), [Evil(marker)])
    state[name] = changes[rng.integers(len(changes))]
    if rng.random() < 0.2:
        state = {"state_dict": state, "epoch": Evil(marker)}
    saved = io.BytesIO()
    torch.save([state, list(state), 5, "text"][0 if rng.random() < 0.8 else rng.integers(1, 4)], saved)
    return saved.getvalue()


def run_checkpoint(case: Case) -> str:
    """Hostile `.pth` files for `convert_checkpoint`."""
    path, output, marker = case.folder / "model.pth", case.folder / "out", case.folder / "CODE HAS RUN"
    path.write_bytes(hostile_checkpoint(case, marker))
    try:
        convert_checkpoint(path, output)
    except Exception as error:
        check(not marker.exists(), "code of the checkpoint was run")
        check(not output.exists() and len(list(case.folder.iterdir())) == 1, "refused, but something was left")
        return refusal(error)
    check(not marker.exists(), "code of the checkpoint was run")
    network = dse_hf.load_model(output, device="cpu")
    try:
        network.separate(torch.full((1, 50), 0.1), network.config.sampling_rate)
    except ValueError as error:  # a changed weight may be huge
        return refusal(error)
    return RIGHT


def run_detector(case: Case) -> str:
    """The pickles must run code when they are loaded, otherwise the trials above would show nothing."""
    marker = case.folder / "CODE HAS RUN"
    disguise = case.pick(DISGUISES)
    content = pickled(disguise, marker)
    try:
        if disguise == "pickle":
            pickle.loads(content)
        else:
            torch.load(io.BytesIO(content), weights_only=False)
    except Exception as error:
        raise Failure(f"a pickle as {disguise} cannot be loaded") from error
    check(marker.exists(), f"a pickle as {disguise} ran no code")
    return RIGHT


TRIALS = [
    Trial("model-folders", run_folder, quick=40, megabytes=512, share=2),
    Trial("checkpoints", run_checkpoint, quick=20, megabytes=512),
    Trial("pickles-run", run_detector, quick=len(DISGUISES), most=len(DISGUISES)),
]
