"""Trains tokenizers, and defines the chat template."""
