from .results import RESULTS as RESULTS
from .run import common_channels as common_channels
from .run import common_sources as common_sources
from .run import distinct as distinct
from .run import evaluate as evaluate
from .run import fingerprint as fingerprint
from .systems import load_system as load_system
