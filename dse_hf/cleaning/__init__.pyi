from .options import CleaningOptions as CleaningOptions
from .run import Cleaning as Cleaning
from .run import clean_repository as clean_repository
