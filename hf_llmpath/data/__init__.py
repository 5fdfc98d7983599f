"""Reads data for models: embedded sets, the world, Hub ids, and local files; tokenizers and batches."""
