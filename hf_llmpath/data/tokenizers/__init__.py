"""Tokenizers that are trained here, and the chat template."""
