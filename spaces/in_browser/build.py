"""Builds the page: `python build.py OUT` writes all its files to the folder OUT, which any web server can serve.

The packages of `package-lock.json` come from the npm registry, with their checksums. Nothing is bundled.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import dse_hf
from dse_hf.errors import one_line
from dse_hf.export import export_onnx
from dse_hf.loading import DEFAULT_MODEL, load_model
from dse_hf.models.modeling_level import knows_every_level


FOLDER = Path(__file__).resolve().parent
PAGE = ("README.md", "index.html", "style.css", "icon.svg", "sw.js", "js/*.js", "screenshots/desktop_light.png")
EXAMPLES = ("train", "hum")
NOT_CACHED = ("README.md", "sw.js", "index.html", "screenshots/desktop_light.png")  # index.html is the folder itself
WEIGHTS = ("float16", "float32", "int8")  # README.md compares
_RUNTIME = "onnxruntime-web/dist"
CHECKED_LENGTH, CHECKED_STEP = 3000, 100  # as in js/network.js
# File of the page → file of a package. What ends in .bin is compressed by gzip, whatever the server does.
VENDORED = {
    "mediabunny.js": "mediabunny/dist/bundles/mediabunny.min.mjs",
    "mediabunny.LICENSE.txt": "mediabunny/LICENSE",
    "ort.wasm.js": f"{_RUNTIME}/ort.wasm.min.mjs",
    "ort.wasm.glue.js": f"{_RUNTIME}/ort-wasm-simd-threaded.mjs",
    "ort.wasm.bin": f"{_RUNTIME}/ort-wasm-simd-threaded.wasm",
    "ort.webgpu.js": f"{_RUNTIME}/ort.webgpu.min.mjs",
    "ort.webgpu.glue.js": f"{_RUNTIME}/ort-wasm-simd-threaded.asyncify.mjs",
    "ort.webgpu.bin": f"{_RUNTIME}/ort-wasm-simd-threaded.asyncify.wasm",
}


def build(out: Path, weights: str = WEIGHTS[0]) -> None:
    """Writes the page to the folder `out`, which is made if it does not exist. `weights` is their data type.

    A ValueError tells what is missing on this machine.
    """
    packages = install_packages()
    files = {path.relative_to(FOLDER).as_posix(): path for pattern in PAGE for path in FOLDER.glob(pattern)}
    package = Path(dse_hf.__file__).parent
    files |= {f"examples/{name}.flac": package / "app" / "examples" / f"{name}.flac" for name in EXAMPLES}
    files |= {f"vendor/{name}": packages / path for name, path in VENDORED.items()}
    files["vendor/LICENSES.txt"] = FOLDER / "LICENSES.txt"
    for name, path in files.items():
        write(out / name, path.read_bytes())
    model = write_model(out, weights)
    large = {name: out / name for name in [*files, model["file"]] if name.endswith(".bin")}
    described = {name: {"bytes": path.stat().st_size, "hash": digest(path)} for name, path in large.items()}
    write(out / "files.json", json.dumps({"model": model, "files": described}, indent=1).encode())
    write_lists(out, [name for name in [*files, "files.json"] if name not in large], described)


def install_packages() -> Path:
    """Lets npm install what `package-lock.json` names, once. Returns the folder of the packages."""
    lock = (FOLDER / "package-lock.json").read_bytes()
    folder = FOLDER / "build" / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise ValueError("npm: not found; install Node.js, which brings it")
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(FOLDER / name, part)
            done = subprocess.run([npm, "ci"], cwd=part, capture_output=True, text=True)
            if done.returncode != 0:
                raise ValueError(f"npm: could not install the packages ({one_line(done.stderr, most=200)}); try again")
            Path(part, "node_modules").rename(folder)
    return folder


def write_model(out: Path, weights: str) -> dict:
    """Writes the default model as ONNX. Returns what the page has to know about it."""
    model = load_model(DEFAULT_MODEL, device="cpu", dtype="float32")
    model.config.average_polarity_flip = False  # the page runs the network twice if the visitor asks for it
    with tempfile.TemporaryDirectory() as folder:
        dtype = "int8" if weights == "int8" else "float32"
        proto = onnx.load(export_onnx(model, Path(folder, "model.onnx"), dtype=dtype).path)
    if weights != "int8":
        pad_channels(proto.graph)
    if weights == "float16":
        store_in_float16(proto.graph)
    content = proto.SerializeToString()
    write(out / "model.bin", content)
    metadata = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    metadata |= {"dtype": weights, "level_invariant": knows_every_level(model.config), "check": expected(content)}
    return {"file": "model.bin", "name": DEFAULT_MODEL, **metadata}


def pad_channels(graph: onnx.GraphProto) -> None:
    """Makes the input of some convolutions a multiple of four channels, by channels and weights of zero.

    ONNX Runtime's WebGPU gives wrong results for other inputs if the output has such a multiple (microsoft/onnxruntime
    issue 29651).
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Conv"]:
        weight = numpy_helper.to_array(tensors[node.input[1]])
        outputs, missing = weight.shape[0], -weight.shape[1] % 4
        if outputs % 4 or not missing or weight.shape[1] == 1:
            continue
        padded = np.pad(weight, ((0, 0), (0, missing), (0, 0)))
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(padded, node.input[1]))
        pads = numpy_helper.from_array(np.array([0, 0, 0, 0, missing, 0]), f"{node.name}_pads")
        graph.initializer.append(pads)
        pad = helper.make_node("Pad", [node.input[0], pads.name], [f"{node.name}_padded"], f"{node.name}_pad")
        node.input[0] = pad.output[0]
        graph.node.insert(list(graph.node).index(node), pad)


def expected(content: bytes) -> list[float]:
    """Some samples of the foreground of the sound that `js/network.js` makes, with which it checks the browser."""
    time = np.arange(CHECKED_LENGTH)
    mixture = (0.3 * np.sin(1e-4 * time * time)).astype(np.float32)[None, None]
    (sources,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(
        None, {"mixture": mixture}
    )
    return [round(float(value), 6) for value in sources[0, 0, 0, ::CHECKED_STEP]]


def store_in_float16(graph: onnx.GraphProto) -> None:
    """Halves the file: the weights become float16, and are turned into float32 when the browser loads them.

    The export's own float16 also computes in it, which not every graphics processor can.
    """
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 1:
            graph.node.insert(
                0, helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT)
            )
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half"))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".bin" else content)


def write_lists(out: Path, small: list[str], large: dict[str, dict]) -> None:
    """Puts the names of the files into the service worker, and a version that changes with any of them."""
    version = hashlib.sha256("".join(digest(out / name) for name in [*small, *large]).encode()).hexdigest()[:12]
    # The page's own address is the folder, not index.html.
    names = ["./", *(name for name in small if name not in NOT_CACHED)]
    text = (out / "sw.js").read_text(encoding="utf-8")
    text = text.replace("dse-hf-page-VERSION", f"dse-hf-page-{version}")
    text = text.replace("SMALL_FILES = []", f"SMALL_FILES = {json.dumps(names)}")
    addresses = [f"{name}?{entry['hash']}" for name, entry in large.items()]
    text = text.replace("LARGE_FILES = []", f"LARGE_FILES = {json.dumps(addresses)}")
    (out / "sw.js").write_text(text, encoding="utf-8")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the page")
    parser.add_argument("--weights", default=WEIGHTS[0], choices=WEIGHTS, help="data type (default: %(default)s)")
    args = parser.parse_args()
    try:
        build(args.out, args.weights)
    except (ValueError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
