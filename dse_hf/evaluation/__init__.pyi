from .results import RESULTS as RESULTS
from .run import common_channels as common_channels
from .run import common_sources as common_sources
from .run import evaluate as evaluate
from .run import fingerprint as fingerprint
from .run import with_unique_names as with_unique_names
from .systems import load_system as load_system
