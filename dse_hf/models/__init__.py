"""Everything in this folder travels to the Hub with the weights: it imports only its siblings."""

# First of all, so that the models are registered in one go, before one of them is imported on its own.
import transformers  # noqa: F401
