from .onnx_file import ExportResult as ExportResult
from .onnx_file import export_onnx as export_onnx

DTYPES: tuple[str, ...]
