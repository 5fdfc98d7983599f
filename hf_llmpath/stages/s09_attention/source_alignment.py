"""Computes where a summarizer looks while it writes: its alignment with the document and its entropy.

alignment = align(model, tokenizer, "Ada the teacher longed for a red kite. ...", num_beams=4)
alignment.weights[3]  # the weights over alignment.source at the time of writing alignment.summary[3]
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
        source: the tokens of the document that the model read, as text, including the space before a token;
            the end token is `""`.
        summary: the tokens that the model wrote, in the same form, without the end token.
        weights: the attention weights, `(summary, source)`, whose rows each sum to 1; `(summary, 0)` for a
            model without attention.
        copied: the opening of the copy gate at each token of the summary, `(summary,)`, from 0 to 1; empty
            for a model without a gate.
        left_out: the number of tokens of the document that were cut off.
        unknown: whether each token of the summary is the unknown token.
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
        """The summary's tokens, with the most attended source word in place of each unknown token.

        Source: Luong et al. 2015b.
        """
        return [
            # A row without columns comes from a model without attention.
            self.source[int(row.argmax())] if unknown and len(row) else word
            for word, row, unknown in zip(self.summary, self.weights, self.unknown, strict=True)
        ]

    @property
    def text(self) -> str:
        return "".join(self.words).strip()

    def as_data(self) -> dict[str, Any]:
        """Returns what the pictures need, as JSON, with numbers rounded to four digits."""
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
    # A weight of 0 contributes 0 · log2(1) = 0 in place of 0 · (-inf) = NaN.
    return -np.sum(weights * np.log2(np.where(weights > 0, weights, 1.0)), axis=-1)


@torch.no_grad()
def align(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    document: str,
    summary: str | None = None,
    **options: Any,
) -> Alignment:
    """Computes where the model looks in `document` while it writes a summary.

    The weights come from a second pass, in which the decoder reads the finished summary. They equal the
    weights of the writing itself, whichever beam won.

    Args:
        model, tokenizer: the summarizer and its tokenizer.
        document: the text to summarize.
        summary: the summary to align; None lets the model write one.
        options: arguments of `generate()` such as `num_beams`, `do_sample`, and `temperature`.
    """
    model.eval()
    inputs = tokenizer(document, truncation=True, return_tensors="pt", verbose=False)
    if summary is None:
        # (1, 1 + written) -> (written,), without the start token
        tokens = model.generate(**inputs, **options)[0, 1:].tolist()
    else:
        tokens = tokenizer(summary)["input_ids"]
    # Teacher forcing: the decoder reads the tokens shifted by one, and position t writes token t.
    decoder_inputs = torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]])  # (1, written)
    outputs = model.model(**inputs, decoder_input_ids=decoder_inputs, use_cache=False)
    if tokens[-1:] == [tokenizer.eos_token_id]:  # absent if the summary reached the maximum length
        tokens = tokens[:-1]
    weights, copied = np.zeros((len(tokens), 0)), np.zeros(0)
    if outputs.cross_attentions is not None:
        # The only entry is (1, 1, written, source) -> (summary, source), without a row for the end token.
        weights = outputs.cross_attentions[0][0, 0, : len(tokens)].float().numpy()
    if model.copy_gate is not None:
        # (1, written, 1) -> (summary,)
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
    """Tells, for each summary word that also occurs in the document, whether attention peaked on that word.

    The token that got the most attention while the word was written must be the word itself. Case is ignored;
    punctuation marks do not count.
    """
    if not alignment.weights.shape[1]:  # a model without attention
        return []
    source = [token.strip().lower() for token in alignment.source]
    summary = [token.strip().lower() for token in alignment.summary]
    return [
        source[int(row.argmax())] == word
        for word, row in zip(summary, alignment.weights, strict=True)
        if word[:1].isalpha() and word in source
    ]
