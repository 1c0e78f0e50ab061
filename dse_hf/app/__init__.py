"""The browser app: the Space of `spaces/source_separation` and `dse-hf app`. Needs the extra `space`."""
