"""GPUs of Hugging Face's ZeroGPU, which a request borrows. A Space imports this module before PyTorch."""

from collections.abc import Callable


try:
    from spaces import GPU  # pyrefly: ignore[missing-module-attribute]  # our folder `spaces` hides the package
except ImportError:  # the package `spaces` is missing; a folder of that name in the working directory has no GPU
    GPU = None


def gpu(handler: Callable) -> Callable:
    """A handler that borrows a GPU on ZeroGPU; elsewhere the handler itself."""
    return handler if GPU is None else GPU(duration=60)(handler)
