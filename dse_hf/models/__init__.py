"""Everything in this folder travels to the Hub with the weights: it imports only its siblings."""
