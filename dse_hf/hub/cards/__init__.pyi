from .card import fill as fill
from .card import render_card as render_card
from .card import write_card as write_card
