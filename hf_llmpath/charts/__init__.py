"""Kinds of picture: data in, matplotlib figure out. Stages choose which ones, from what their runs saved."""
