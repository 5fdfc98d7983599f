"""To and from the Hugging Face Hub: model cards, pushing a run, Space folders, fetching a pushed run."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def resource(name: str) -> Path:
    """The folder `model_cards` or `spaces`, in the installed package or at the top of a source checkout.

    Raises:
        FileNotFoundError: neither has it.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        if (parent / name).is_dir():
            return parent / name
    raise FileNotFoundError(f"the folder '{name}' is missing from this installation of hf-llmpath")
