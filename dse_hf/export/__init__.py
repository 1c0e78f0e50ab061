"""Writes models as files for other programs."""

import lazy_loader


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

DTYPES = ("float32", "float16", "int8")
