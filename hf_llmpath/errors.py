"""Defines the error that users can fix: the command line shows it as one line and exits with code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error whose message says in one line what is wrong and how to fix it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the known word closest to `word`, or "" if none is close."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""
