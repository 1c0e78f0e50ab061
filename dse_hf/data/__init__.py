"""Audio datasets → training examples and evaluation clips: pairs, clean speech and noise, or stems."""

import lazy_loader


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
