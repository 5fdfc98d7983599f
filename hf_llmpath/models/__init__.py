"""The models. One flat folder: all of it can travel to the Hub with a model, so its modules import only
the standard library, torch, transformers, huggingface_hub and each other, as `from .sibling import name`."""
