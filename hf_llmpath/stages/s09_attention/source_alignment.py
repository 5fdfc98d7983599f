"""Where a summarizer looks while it writes: the alignment of summary and document, and how sure it is.

found = align(model, tokenizer, "Ada the teacher longed for a red kite. ...", num_beams=4)
found.weights[3]  # over found.source, when it wrote found.summary[3]
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...data.tokenizers.word_level import read_texts, token_texts


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
    def words(self) -> list[str]:
        """The summary's tokens; an unknown one is replaced by the word that was looked at most (Luong et
        al. 2015b).
        """
        return [
            self.source[int(row.argmax())] if unknown and len(row) else word
            for word, row, unknown in zip(self.summary, self.weights, self.unknown, strict=True)
        ]

    @property
    def text(self) -> str:
        return "".join(self.words).strip()


def attention_entropy(weights: np.ndarray) -> np.ndarray:
    """H = -Σ α log2 α of each row, in bits: 0 looks at one token, log2(n) at all n alike; `(..., keys)`
    -> `(...)`.
    """
    return -np.sum(weights * np.log2(np.where(weights > 0, weights, 1.0)), axis=-1)


@torch.no_grad()
def align(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, document: str, **options: Any
) -> Alignment:
    """Writes a summary of `document` and keeps where it looked.

    The weights are read in a second pass, in which the decoder is shown what was written: they are those
    of the writing itself, whichever beam won.

    Args:
        options: for `generate()`: `num_beams`, `do_sample`, `temperature`, ...
    """
    model.eval()
    inputs = tokenizer(document, truncation=True, return_tensors="pt", verbose=False)
    return _read(model, tokenizer, document, model.generate(**inputs, **options)[0, 1:].tolist())


def align_with(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, document: str, summary: str
) -> Alignment:
    """Where the model looks when it writes `summary`, whoever wrote it first."""
    return _read(model, tokenizer, document, tokenizer(summary)["input_ids"])


@torch.no_grad()
def _read(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, document: str, written: list[int]
) -> Alignment:
    """The alignment of the tokens `written`, the end token included."""
    model.eval()
    inputs = tokenizer(document, truncation=True, return_tensors="pt", verbose=False)
    shown = torch.tensor([[model.config.decoder_start_token_id, *written[:-1]]])
    outputs = model.model(**inputs, decoder_input_ids=shown, use_cache=False)
    tokens = written[:-1] if written[-1:] == [tokenizer.eos_token_id] else written
    weights, copied = np.zeros((len(tokens), 0)), np.zeros(0)
    if outputs.cross_attentions is not None:
        weights = outputs.cross_attentions[0][0, 0, : len(tokens)].float().numpy()
    if model.copy_gate is not None:
        copied = model.copy_gate(outputs.last_hidden_state)[0, : len(tokens), 0].sigmoid().float().numpy()
    return Alignment(
        source=read_texts(tokenizer, document, truncation=True),
        summary=token_texts(tokenizer.convert_ids_to_tokens(tokens)),
        weights=weights,
        copied=copied,
        left_out=len(tokenizer(document, verbose=False)["input_ids"]) - inputs["input_ids"].shape[1],
        unknown=[token == tokenizer.unk_token_id for token in tokens],
    )


def looked_at_itself(found: Alignment) -> list[bool]:
    """For each word of the summary that stands in the document too: whether the token that was looked at
    most when it was written is that word. Upper and lower case are one; marks do not count."""
    if not found.weights.shape[1]:
        return []
    source = [token.strip().lower() for token in found.source]
    words = ((token.strip().lower(), row) for token, row in zip(found.summary, found.weights, strict=True))
    return [source[int(row.argmax())] == word for word, row in words if word[:1].isalpha() and word in source]
