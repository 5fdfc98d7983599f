"""Weights of other libraries in our models, and ours in theirs."""
