"""Whole batches from tensors: rows of tokens, streams, pairs, packing, collators, token files."""
