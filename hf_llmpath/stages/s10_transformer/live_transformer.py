"""What the pages ask of a Transformer: its answer or verdict on a text, and where it looked meanwhile."""

import threading
from pathlib import Path

from ...hub.model_folder import load_pair, loaded
from ...training.attention_probes import AttentionMaps, attention_maps
from ...ui.pictures import visible


class Transformer:
    """A model and its tokenizer, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer is that of another model.
    """

    def __init__(self, auto_class: str, folder: Path):
        self.model, self.tokenizer = load_pair(auto_class, folder)
        self._one_at_a_time = threading.Lock()  # while one looks, the model is switched to eager attention

    def look(self, text: str) -> AttentionMaps:
        """Answer or verdict, and the attention of every head (see `attention_maps`)."""
        with self._one_at_a_time:
            return attention_maps(self.model, self.tokenizer, text)

    def note(self, text: str, maps: AttentionMaps) -> str:
        """What to know about how the text was read: that it was cut, or what the model does not know."""
        notes = []
        if maps.cut:
            read = len(maps.source)
            notes.append(f"The text has {read + maps.cut} tokens; the model read the first {read}.")
        encoding = self.tokenizer(
            text, return_offsets_mapping=True, truncation=True, max_length=len(maps.source)
        )
        pairs = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        strange = dict.fromkeys(
            text[start:end].strip() or " "
            for token, (start, end) in pairs
            if token == self.tokenizer.unk_token_id
        )
        if strange:
            notes.append(f"The model never saw {' '.join(map(visible, list(strange)[:8]))}.")
        return " ".join(notes)


def load_transformer(auto_class: str, folder: Path) -> Transformer:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle, or its tokenizer is that of another
            model.
    """
    return loaded(Transformer, folder, auto_class)
