from .libdse import convert_checkpoint as convert_checkpoint
