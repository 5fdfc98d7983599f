"""Puts an encoder behind a page, where it fills in blanks and classifies texts."""

from pathlib import Path

import torch

from ..errors import UserError
from ..hub.model_folder import load_pair, loaded
from ..training.recipes.masked_language_model import fill_masks


class Encoder:
    """An encoder in evaluation mode, and its tokenizer.

    Raises:
        UserError: the folder cannot be read, or its tokenizer belongs to another model.
    """

    def __init__(self, auto_class: str, folder: Path):
        self.model, self.tokenizer = load_pair(auto_class, folder)

    @property
    def mask(self) -> str:
        return self.tokenizer.mask_token

    def fill(self, text: str, top_k: int) -> list[list[tuple[str, float]]]:
        """Returns the likeliest tokens, with probabilities, for every mask in the text (see `fill_masks`)."""
        return fill_masks(self.model, self.tokenizer, text, top_k)

    @torch.no_grad()
    def classify(self, text: str) -> list[tuple[str, float]]:
        """Returns every class with its probability, in the order of the class ids.

        Raises:
            UserError: the text is empty.
        """
        if not text.strip():
            raise UserError("the text is empty; type a sentence")
        limit = self.model.config.max_position_embeddings
        inputs = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        inputs.pop("token_type_ids", None)  # a single text is all segment 0, the model's default
        # (1, classes) -> (classes,)
        probabilities = self.model(**inputs).logits[0].softmax(-1).tolist()
        return [(self.model.config.id2label[label], p) for label, p in enumerate(probabilities)]

    def note(self, text: str) -> str:
        """Says what the model cannot read of the text: tokens beyond its limit, and unknown words."""
        limit = self.model.config.max_position_embeddings
        ids = self.tokenizer(text)["input_ids"]
        notes = []
        if len(ids) > limit:
            notes.append(f"The text has {len(ids)} tokens; the model read the first {limit}.")
        if unknown := ids[:limit].count(self.tokenizer.unk_token_id):
            notes.append(f"{unknown} of its words are unknown to the model.")
        return " ".join(notes)


def load_encoder(auto_class: str, folder: Path) -> Encoder:
    """Returns the encoder saved in `folder`, which stays in memory until its files change.

    Raises:
        UserError: the weight file is missing, truncated, or a pickle, or the tokenizer belongs to another
            model.
    """
    return loaded(Encoder, folder, auto_class)
