"""`dse-hf export`: writes a model as an ONNX file. The work is done in `dse_hf.export`."""

import argparse

from ..export import DTYPES
from .console import quiet_libraries, requiring


HELP = "write a model as an ONNX file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a Wave-U-Net as an ONNX file for ONNX Runtime, browsers and phones, and reports how much its output "
        "differs from PyTorch's."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="name of an embedded model, folder, or Hub id")
    add("output", metavar="OUT", help="file to write (model.onnx)")
    add("--dtype", default="float32", choices=DTYPES, help="data type of the weights (default: %(default)s)")
    add("--audio", metavar="FILE", help="recording for the comparison (default: speech beside a train)")
    add("--overwrite", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> int:
    with requiring("export"):  # before a model is loaded
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    from ..export import export_onnx
    from ..loading import load_model

    with quiet_libraries():
        model = load_model(args.model, device="cpu", dtype="float32")
        result = export_onnx(model, args.output, dtype=args.dtype, audio=args.audio, overwrite=args.overwrite)
    print(
        f"{result.path}: {result.size / 1e6:.1f} MB, {args.dtype}; compared with float32 in PyTorch: "
        f"SNR {result.snr:.1f} dB, largest error {result.max_error:.1e} of full scale"
    )
    return 0
