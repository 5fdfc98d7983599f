"""What the pages ask of a summarizer: a summary, and where it looked for every word of it."""

import threading
from pathlib import Path

import torch

from ...data.tokenizers.word_level import unknown_words
from ...errors import UserError
from ...hub.model_folder import load_pair, loaded
from ...ui.pictures import shortened
from .source_alignment import Alignment, align

_DRAWING = threading.Lock()  # generate() draws from the random numbers of the whole process


class Summarizer:
    """A recurrent encoder-decoder and its tokenizer, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer is that of another model.
    """

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForSeq2SeqLM", folder)

    def write(self, document: str, num_beams: int, temperature: float, seed: int) -> Alignment:
        """A summary of `document`: the best of the beam, or drawn by chance where `temperature` is above 0.

        Raises:
            UserError: no text.
        """
        if not document.strip():
            raise UserError("the document is empty; type or pick a text")
        options = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        with _DRAWING, torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            return align(self.model, self.tokenizer, document, num_beams=int(num_beams), **options)

    def note(self, document: str, found: Alignment) -> str:
        """What to know about how the document was read: that it was cut, or that words are unknown."""
        notes = []
        if found.left_out:
            read = len(found.source)
            notes.append(f"The document has {read + found.left_out} tokens; the model read the first {read}.")
        if strange := unknown_words(self.tokenizer, document):
            named = ", ".join(shortened(word, 24) for word in strange[:8]) + (
                " …" if len(strange) > 8 else ""
            )
            notes.append(f"It never saw: {named}.")
            if any(found.unknown):
                notes.append("Where it wrote an unknown word, you read the one that it looked at.")
        return " ".join(notes)


def load_summarizer(folder: Path) -> Summarizer:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle, or the tokenizer is that of another
            model.
    """
    return loaded(Summarizer, folder)
