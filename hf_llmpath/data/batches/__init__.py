"""Makes whole batches: rows of tokens, streams, pairs, packed blocks, collators, and token files."""
