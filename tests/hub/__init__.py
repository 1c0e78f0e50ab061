from .local import LocalHub


__all__ = ["LocalHub"]
