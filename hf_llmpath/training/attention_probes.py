"""Shows what a Transformer attends to: the weights of every head, and their rollout over the layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.tokenizers.word_level import JOINER
from ..errors import UserError
from ..models.layers_attention import eager_attention

KINDS = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}


@dataclass(frozen=True)
class AttentionMaps:
    """The attention of a model while it read a text and, if it is a generator, wrote another.

    Attributes:
        source, target: tokens as text; the target consists of the decoder's inputs, with the start token
            first.
        weights: maps a kind (`encoder`, `decoder`, `cross`) to weights `(layers, heads, queries, keys)`; each
            row sums to 1.
        answer: the text that a generator wrote.
        predicted: for a classifier, maps each class to its probability.
        cut: number of tokens that the model did not read because the text is too long.
    """

    source: list[str]
    target: list[str]
    weights: dict[str, np.ndarray]
    answer: str = ""
    predicted: dict[str, float] | None = None
    cut: int = 0

    def axes(self, kind: str) -> tuple[list[str], list[str]]:
        """Returns the tokens of the queries (rows) and of the keys (columns)."""
        rows = self.source if kind == "encoder" else self.target
        return rows, self.target if kind == "decoder" else self.source

    def as_data(self) -> dict[str, Any]:
        """Returns the maps for `Run.save_figure_data`, with weights rounded to four digits."""
        return {
            "source": self.source,
            "target": self.target,
            "answer": self.answer,
            "weights": {
                kind: np.round(values.astype(float), 4).tolist() for kind, values in self.weights.items()
            },
        }


def attention_rollout(weights: np.ndarray) -> np.ndarray:
    """Computes how much of each input token is left in each position after all layers.

    Heads are averaged, and half of what a layer passes on is the residual stream itself: A = 0.5 W + 0.5 I.
    The rollout is the product of the A of all layers (Abnar & Zuidema 2020, section 3).

    Args:
        weights: self-attention `(layers, heads, length, length)`.

    Returns:
        The rollout `(length, length)`; row i is the composition of position i and sums to 1.
    """
    # A = 0.5 W + 0.5 I: (layers, heads, length, length) -> (layers, length, length)
    layers = 0.5 * weights.mean(axis=1) + 0.5 * np.eye(weights.shape[-1])
    rollout = layers[0]  # (length, length)
    for layer in layers[1:]:
        rollout = layer @ rollout  # R_l = A_l R_{l-1}, (length, length)
    return rollout


@torch.no_grad()
def attention_maps(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> AttentionMaps:
    """Runs the model on `text` with eager attention and returns its attention weights.

    A generator first writes its answer by greedy decoding; the decoder then reads it in one pass, as in
    training.

    Raises:
        UserError: the text is empty.
    """
    if not text.strip():
        raise UserError("the text is empty; type something that the model can read")
    limit = model.config.max_position_embeddings
    whole = tokenizer(text)["input_ids"]
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)  # (1, length) each
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    cut = max(0, len(whole) - inputs["input_ids"].shape[1])
    source = token_labels(tokenizer, inputs["input_ids"][0].tolist())
    if not model.can_generate():
        with eager_attention(model):
            output = model(**inputs, output_attentions=True)
        chances = output.logits[0].softmax(-1).tolist()  # (1, classes) -> (classes,)
        predicted = {model.config.id2label[index]: chance for index, chance in enumerate(chances)}
        return AttentionMaps(
            source, [], {"encoder": _stacked(output.attentions)}, predicted=predicted, cut=cut
        )
    # (1, written), including the start token; greedy, so that the answer is the same each time
    written = model.generate(**inputs, max_new_tokens=32, do_sample=False, num_beams=1)
    with eager_attention(model):
        output = model(**inputs, decoder_input_ids=written, output_attentions=True, use_cache=False)
    weights = {kind: _stacked(output[name]) for kind, name in KINDS.items()}
    answer = tokenizer.decode(written[0], skip_special_tokens=True)
    return AttentionMaps(source, token_labels(tokenizer, written[0].tolist()), weights, answer, cut=cut)


def _stacked(attentions: Sequence[torch.Tensor]) -> np.ndarray:
    # layers x (1, heads, queries, keys) -> (layers, heads, queries, keys)
    return torch.stack([layer[0] for layer in attentions]).float().numpy()


def token_labels(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Returns each token as visible text, with signs for the special tokens."""
    signs = {
        tokenizer.eos_token_id: "∎",
        tokenizer.pad_token_id: "∅",
        tokenizer.unk_token_id: "\N{REPLACEMENT CHARACTER}",
    }
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    return [
        signs.get(index, token.replace(JOINER, "") or token) for index, token in zip(ids, tokens, strict=True)
    ]
