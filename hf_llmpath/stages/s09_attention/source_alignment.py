"""Computes where a summarizer looks while it writes: the alignment with the document, and how sharp it is.

alignment = align(model, tokenizer, "Ada the teacher longed for a red kite. ...", num_beams=4)
alignment.weights[3]  # over alignment.source, when it wrote alignment.summary[3]
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...data.tokenizers.word_level import read_texts, token_texts


@dataclass(frozen=True)
class Alignment:
    """Holds a summary and where the model looked for each of its tokens.

    Attributes:
        source: tokens of the document that the model read, as text, spaces included; the end token is `""`.
        summary: tokens that it wrote, likewise.
        weights: `(summary, source)`, each row sums to 1; no columns for a model without attention.
        copied: for each token of the summary how far the copy gate was open, 0 to 1; empty without a gate.
        left_out: number of tokens of the document that were cut off.
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
        """The summary's tokens; an unknown one is replaced by the word that got the most attention (Luong et
        al. 2015b).
        """
        return [
            self.source[int(row.argmax())] if unknown and len(row) else word
            for word, row, unknown in zip(self.summary, self.weights, self.unknown, strict=True)
        ]

    @property
    def text(self) -> str:
        return "".join(self.words).strip()

    def as_data(self) -> dict[str, Any]:
        """What the pictures need, as JSON."""
        return {
            "source": self.source,
            "summary": self.summary,
            "weights": [[round(float(value), 4) for value in row] for row in self.weights],
            "entropy": [round(float(value), 4) for value in self.entropy],
            "copied": [round(float(value), 4) for value in self.copied],
        }


def attention_entropy(weights: np.ndarray) -> np.ndarray:
    """Computes the entropy H = -Σ α log2 α of each row, in bits: `(..., keys)` -> `(...)`.

    It is 0 if one token gets all attention and log2(n) if all n tokens get the same.
    """
    return -np.sum(weights * np.log2(np.where(weights > 0, weights, 1.0)), axis=-1)


@torch.no_grad()
def align(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    document: str,
    summary: str | None = None,
    **options: Any,
) -> Alignment:
    """Where the model looks in `document` when it writes `summary`, or a summary of its own if none is given.

    The weights come from a second pass in which the decoder reads what was written. They equal those of the
    writing itself, whichever beam won.

    Args:
        options: for `generate()`: `num_beams`, `do_sample`, `temperature`, ...
    """
    model.eval()
    inputs = tokenizer(document, truncation=True, return_tensors="pt", verbose=False)
    if summary is None:
        tokens = model.generate(**inputs, **options)[0, 1:].tolist()  # without the start token
    else:
        tokens = tokenizer(summary)["input_ids"]
    decoder_inputs = torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]])  # (1, written)
    outputs = model.model(**inputs, decoder_input_ids=decoder_inputs, use_cache=False)
    if tokens[-1:] == [tokenizer.eos_token_id]:
        tokens = tokens[:-1]
    weights, copied = np.zeros((len(tokens), 0)), np.zeros(0)
    if outputs.cross_attentions is not None:  # (layers, batch, heads, written, source)
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


def looked_at_itself(alignment: Alignment) -> list[bool]:
    """For each word of the summary that also stands in the document: whether the token that got the most
    attention when it was written is that word. Case is ignored; punctuation marks do not count."""
    if not alignment.weights.shape[1]:
        return []
    source = [token.strip().lower() for token in alignment.source]
    summary = [token.strip().lower() for token in alignment.summary]
    return [
        source[int(row.argmax())] == word
        for word, row in zip(summary, alignment.weights, strict=True)
        if word[:1].isalpha() and word in source
    ]
