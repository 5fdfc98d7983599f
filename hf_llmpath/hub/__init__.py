"""Moves runs to and from the Hugging Face Hub: model cards, pushes, Space folders, and fetched runs."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def resource(name: str) -> Path:
    """Finds the folder `model_cards` or `spaces` in the installed package or at the top of a source checkout.

    Raises:
        FileNotFoundError: the folder is in neither place.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise FileNotFoundError(f"the folder '{name}' is missing from this installation of hf-llmpath")
