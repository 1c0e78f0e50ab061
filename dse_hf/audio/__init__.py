"""Reads and writes audio files of any length, block by block, and changes their sampling rate."""

import lazy_loader


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
