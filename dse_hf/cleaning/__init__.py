"""Cleans whole datasets: shard by shard, in several processes or on a cluster, and goes on where it stopped."""

import lazy_loader


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
