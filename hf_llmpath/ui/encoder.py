"""An encoder behind a page: it fills in blanks and says which class a text belongs to."""

from pathlib import Path

import torch

from ..errors import UserError
from ..hub.model_folder import load_pair, loaded
from ..training.recipes.masked_language_model import fill_masks


class Encoder:
    """A model and its tokenizer, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer belongs to another model.
    """

    def __init__(self, auto_class: str, folder: Path):
        self.model, self.tokenizer = load_pair(auto_class, folder)

    @property
    def mask(self) -> str:
        return self.tokenizer.mask_token

    def fill(self, text: str, top_k: int) -> list[list[tuple[str, float]]]:
        """The likeliest tokens for every mask in the text, with their probabilities (see `fill_masks`)."""
        return fill_masks(self.model, self.tokenizer, text, top_k)

    @torch.no_grad()
    def classify(self, text: str) -> list[tuple[str, float]]:
        """Every class with its probability, in the order of the classes.

        Raises:
            UserError: no text.
        """
        if not text.strip():
            raise UserError("the text is empty; type a sentence")
        limit = self.model.config.max_position_embeddings
        inputs = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        inputs.pop("token_type_ids", None)
        probabilities = self.model(**inputs).logits[0].softmax(-1).tolist()  # (classes)
        return [(self.model.config.id2label[label], p) for label, p in enumerate(probabilities)]

    def note(self, text: str) -> str:
        """Sentences about how the text is read: that it was cut, or that words are unknown."""
        limit = self.model.config.max_position_embeddings
        ids = self.tokenizer(text)["input_ids"]
        notes = []
        if len(ids) > limit:
            notes.append(f"The text has {len(ids)} tokens; the model read the first {limit}.")
        if unknown := ids[:limit].count(self.tokenizer.unk_token_id):
            notes.append(f"{unknown} of its words are unknown to the model.")
        return " ".join(notes)


def load_encoder(auto_class: str, folder: Path) -> Encoder:
    """The model saved in `folder`, kept in memory until its files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle, or its tokenizer belongs to another
            model.
    """
    return loaded(Encoder, folder, auto_class)
