"""Where a summarizer looks while it writes: the alignment of summary and document, and how sure it is.

found = align(model, tokenizer, "Ada the teacher longed for a red kite. ...", num_beams=4)
found.weights[3]  # over found.source, when it wrote found.summary[3]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Alignment:
    """A summary and where the model looked for each of its tokens.

    Attributes:
        source: tokens of the document that the model read, as text, spaces included; the end token is `""`.
        summary: tokens that it wrote, likewise.
        weights: `(summary, source)`, each row sums to 1; no columns for a model without attention.
        copied: for each token of the summary how far the copy gate was open, 0 to 1; empty without one.
        left_out: tokens of the document that were cut off.
        unknown: for each token of the summary whether it is the unknown token.
    """

    source: list[str]
    summary: list[str]
    weights: np.ndarray
    copied: np.ndarray
    left_out: int
    unknown: list[bool]

    @property
    def entropy(self) -> np.ndarray:
        return attention_entropy(self.weights)

    @property
    def text(self) -> str:
        """The summary; an unknown token is replaced by the word that was looked at most (Luong et al. 2015b)."""
        words = [
            self.source[int(row.argmax())] if unknown and len(row) else word
            for word, row, unknown in zip(self.summary, self.weights, self.unknown, strict=True)
        ]
        return "".join(words).strip()


def attention_entropy(weights: np.ndarray) -> np.ndarray:
    """H = -Σ α log2 α of each row, in bits: 0 looks at one token, log2(n) at all n alike; `(..., keys)` -> `(...)`."""
    return -np.sum(weights * np.log2(np.where(weights > 0, weights, 1.0)), axis=-1)


@torch.no_grad()
def align(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, document: str, **options: Any) -> Alignment:
    """Writes a summary of `document` and keeps where it looked.

    The weights are read in a second pass, in which the decoder is shown what was written: they are those of the writing
    itself, whichever beam won.

    Args:
        options: for `generate()`: `num_beams`, `do_sample`, `temperature`, ...
    """
    model.eval()
    full = tokenizer(document, return_offsets_mapping=True, verbose=False)
    kept = tokenizer(document, truncation=True, return_tensors="pt", return_offsets_mapping=True, verbose=False)
    offsets = kept.pop("offset_mapping")[0].tolist()
    written = model.generate(**kept, **options)
    return read_alignment(
        model, tokenizer, document, kept, offsets, written, len(full["input_ids"]) - kept["input_ids"].shape[1]
    )


@torch.no_grad()
def read_alignment(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    document: str,
    inputs: dict[str, torch.Tensor],
    offsets: Sequence[Sequence[int]],
    written: torch.Tensor,
    left_out: int = 0,
) -> Alignment:
    """The alignment of what was `written` `(1, start token and summary)` about the document that gave `inputs`."""
    outputs = model.model(**inputs, decoder_input_ids=written[:, :-1], use_cache=False)
    tokens = written[0, 1:].tolist()
    if tokens and tokens[-1] == tokenizer.eos_token_id:
        tokens.pop()
    weights = np.zeros((len(tokens), 0))
    if outputs.cross_attentions is not None:
        weights = outputs.cross_attentions[0][0, 0, : len(tokens)].float().numpy()
    copied = np.zeros(0)
    if model.copy_gate is not None:
        copied = model.copy_gate(outputs.last_hidden_state)[0, : len(tokens), 0].sigmoid().float().numpy()
    return Alignment(
        source=_pieces(document, offsets),
        summary=[_shown(tokenizer, token) for token in tokens],
        weights=weights,
        copied=copied,
        left_out=left_out,
        unknown=[token == tokenizer.unk_token_id for token in tokens],
    )


def _pieces(text: str, offsets: Sequence[Sequence[int]]) -> list[str]:
    """The text of each token as it stands in the document, with the space before it."""
    return [
        text[start:end]
        if start == 0 or text[start:end][:1].isspace() or not text[start - 1].isspace()
        else " " + text[start:end]
        for start, end in offsets
    ]


def _shown(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    return tokenizer.convert_ids_to_tokens(token).replace("▁", " ")


def looked_at_itself(found: Alignment) -> list[bool]:
    """For each word of the summary that stands in the document too: whether the token that was looked at most when it was
    written is that word. Upper and lower case are one; marks do not count."""
    source = [token.strip().lower() for token in found.source]
    words = ((token.strip().lower(), row) for token, row in zip(found.summary, found.weights, strict=True))
    return [source[int(row.argmax())] == word for word, row in words if word[:1].isalpha() and word in source]
