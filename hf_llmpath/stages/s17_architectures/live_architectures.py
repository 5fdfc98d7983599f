"""What the page of stage 17 asks of its three models: where they look, their verdict, and what only one
of them can do.
"""

import threading
from pathlib import Path

import torch

from ...data.batches.token_rows import TokenRows
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...training.recipes.masked_language_model import encode
from .objectives_compared import class_scores, class_targets
from .strengths import Map, fill_spans, go_on, look


class Architecture:
    """One of the three and its tokenizer, in evaluation mode.

    Args:
        kind: `"gpt"`, `"bert"` or `"t5"`.
        auto_class: Auto class that loads it.
        folder: where it was saved.

    Raises:
        UserError: the folder cannot be read, or its tokenizer is that of another model.
    """

    def __init__(self, kind: str, auto_class: str, folder: Path):
        self.kind = kind
        self.model, self.tokenizer = load_pair(auto_class, folder)
        self._one_at_a_time = threading.Lock()  # while one looks, the model is switched to eager attention

    def look(self, text: str, target: str | None = None) -> dict[str, Map]:
        """Attention of every head (see `strengths.look`)."""
        with self._one_at_a_time:
            return look(self.kind, self.model, self.tokenizer, text, target)

    def go_on(self, text: str, seed: int, temperature: float) -> str:
        """The text and what the decoder writes after it."""
        with self._one_at_a_time:
            return go_on(self.model, self.tokenizer, text, seed, temperature)

    def fill_spans(self, text: str) -> tuple[str, str]:
        """The text with its gaps filled, and what the encoder-decoder wrote."""
        with self._one_at_a_time:
            return fill_spans(self.model, self.tokenizer, text)

    def verdict(self, text: str) -> list[tuple[str, float]]:
        """Every class with its probability, as an encoder-decoder finds their names likely after the text.

        Raises:
            UserError: no text.
        """
        if not text.strip():
            raise UserError("the text is empty; type a sentence")
        names = [self.model.config.id2label[number] for number in range(self.model.config.num_labels)]
        ids = encode(self.tokenizer, [text], self.tokenizer.model_max_length)[0]
        rows = TokenRows(
            [[self.tokenizer.pad_token_id, *ids]]
        )  # what frames a text at its beginning is left out
        with self._one_at_a_time:
            scores = class_scores(
                self.model, rows, class_targets(self.tokenizer, names), self.tokenizer.pad_token_id
            )
        chances = torch.from_numpy(scores[0]).softmax(-1).tolist()
        return list(zip(names, chances, strict=True))


def load_architecture(kind: str, auto_class: str, folder: Path) -> Architecture:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle, or its tokenizer is that of another
            model.
    """
    return loaded(Architecture, folder, kind, auto_class)
