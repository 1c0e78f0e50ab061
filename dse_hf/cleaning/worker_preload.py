"""Imports what the processes that clean need. Only the process of which they are forked imports this module."""

import datasets  # noqa: F401
import pyarrow.parquet  # noqa: F401

from ..models import modeling_waveunet_network, modeling_waveunet_stream  # noqa: F401
from . import shards  # noqa: F401
