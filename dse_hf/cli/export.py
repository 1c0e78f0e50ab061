"""`dse-hf export`: what the user gives and what the user sees. The work is done in `export.py`."""

import argparse

from .console import FAILURE, complain, quiet_libraries


HELP = "write a model as an ONNX file"
_DTYPES = ["float32", "float16", "int8"]  # those of dse_hf.export, which takes time to import


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes a Wave-U-Net as an ONNX file for ONNX Runtime, browsers and phones, and tells how near its output is "
        "to PyTorch's."
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="embedded name, folder or Hub id")
    add("output", metavar="OUT", help="file to write (model.onnx)")
    add("--dtype", default="float32", choices=_DTYPES, help="of the weights (default: %(default)s)")
    add("--audio", metavar="FILE", help="recording to compare on (default: one of speech beside a train)")
    add("--overwrite", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace) -> int:
    try:
        import onnx  # noqa: F401 (missed before a model is loaded)
        import onnxruntime  # noqa: F401
    except ImportError as error:
        complain(f"export: {error}; run: pip install 'dse-hf[export]'")
        return FAILURE
    from ..export import export_onnx
    from ..loading import load_model

    try:
        with quiet_libraries():
            model = load_model(args.model, device="cpu", dtype="float32")
            result = export_onnx(model, args.output, dtype=args.dtype, audio=args.audio, overwrite=args.overwrite)
    except (ValueError, OSError) as error:
        complain(error)
        return FAILURE
    print(
        f"{result.path}: {result.size / 1e6:.1f} MB, {args.dtype}; to float32 in PyTorch: SNR {result.snr:.1f} dB, "
        f"greatest error {result.max_error:.1e} of full scale"
    )
    return 0
