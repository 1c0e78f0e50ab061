"""Training with `transformers.Trainer`: `python -m dse_hf.training.run recipe.yaml`."""
