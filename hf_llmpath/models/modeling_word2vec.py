"""Implements word vectors: a table with one row per word, learned from which words occur near each other.

A word has one vector in `embed_tokens` and a second one in `context_embeddings`, for its role as a neighbor
of another word. The score of a pair is the scalar product of the first word's vector and the second word's
context vector. The three objectives differ in the quantity that the score learns:

* skip-gram with negative sampling: the log-odds that the second word is a true neighbor, not a random word;
* CBOW: the same log-odds for a word and the mean vector of all its neighbors;
* GloVe: the logarithm of how often the two words occur together, with one bias per word added to the score.

Sources: Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", 2013;
Pennington, Socher & Manning, "GloVe: Global Vectors for Word Representation", 2014.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_word2vec import LLMPathWord2VecConfig


@dataclass
class Word2VecOutput(ModelOutput):
    """The output of the word-vector model.

    Args:
        loss (`Tensor`): the objective, if `context_ids` are given.
        last_hidden_state (`Tensor` of shape `(batch, length, hidden_size)`): the vector of every word.
        pooler_output (`Tensor` of shape `(batch, hidden_size)`): the mean vector, without padding.
    """

    loss: Tensor | None = None
    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None


def negative_sampling_loss(vectors: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
    """Returns -log σ(v · c) - Σ_k log σ(-v · n_k) for each row. Mikolov et al. 2013, equation 4.

    Args:
        vectors: v `(rows, size)`, the vectors of words, or the mean vectors of their neighbors.
        context: c `(rows, size)`, the context vectors of the true partners.
        negatives: n `(rows, k, size)`, the context vectors of the random words.
    """
    wrong = (negatives @ vectors.unsqueeze(-1)).squeeze(-1)  # (rows, k, size) @ (rows, size, 1) -> (rows, k)
    # softplus(-x) = -log σ(x), but it stays finite where σ(x) rounds to 0: (rows,).
    return F.softplus(-(vectors * context).sum(-1)) + F.softplus(wrong).sum(-1)


def glove_weight(counts: Tensor, most: float = 100.0, power: float = 0.75) -> Tensor:
    """Returns min(1, (count / most)^power), which gives rare, noisy pairs less weight, in any shape.

    Pennington et al. 2014, equation 9.
    """
    return (counts / most).clamp(max=1).pow(power)


def glove_loss(scores: Tensor, counts: Tensor) -> Tensor:
    """Returns f(count) (score - log count)², with f as in `glove_weight`, in any shape.

    A score is a scalar product plus the biases of both words. Pennington et al. 2014, equation 8.
    """
    return glove_weight(counts) * (scores - counts.log()).square()


class LLMPathWord2VecPreTrainedModel(PreTrainedModel):
    config: LLMPathWord2VecConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True  # accepted, although the model has no layers to recompute

    def _init_weights(self, module: nn.Module) -> None:
        """Draws small vectors for words, and zeros for contexts, as in word2vec; GloVe draws both."""
        if not isinstance(module, nn.Embedding):
            return
        if module.embedding_dim == 1 or getattr(module, "_starts_at_zero", False):
            init.zeros_(module.weight)
        else:
            limit = 0.5 / self.config.hidden_size
            init.uniform_(module.weight, -limit, limit)


class LLMPathWord2VecModel(LLMPathWord2VecPreTrainedModel):
    """Static word vectors: a word has the same vector wherever it stands."""

    def __init__(self, config: LLMPathWord2VecConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.context_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        glove = config.objective == "glove"
        # Weights are initialized leaf by leaf, so a mark must tell the context table from the word table.
        self.context_embeddings._starts_at_zero = not glove  # type: ignore[assignment]
        self.biases = nn.Embedding(config.vocab_size, 1) if glove else None
        self.context_biases = nn.Embedding(config.vocab_size, 1) if glove else None
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        context_ids: Tensor | None = None,
        negative_ids: Tensor | None = None,
        counts: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Word2VecOutput | tuple:
        """Looks up the vectors of words, and computes the mean loss over pairs if partners are given.

        Args:
            input_ids: `(batch, length)`. For CBOW with `context_ids` these are the neighbors, padded and
                masked by `attention_mask`.
            attention_mask: `(batch, length)`, 1 for words, 0 for padding.
            inputs_embeds: `(batch, length, hidden_size)` in place of `input_ids`.
            context_ids: the true partners, `(batch, length)`, or `(batch,)` for CBOW.
            negative_ids: k random words for each partner, `(..., k)`. Skip-gram and CBOW need them.
            counts: how often each pair occurs, `(batch, length)`. GloVe needs them.
        """
        vectors = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            mask = vectors.new_ones(vectors.shape[:2])  # (batch, length)
        else:
            mask = attention_mask.to(vectors.dtype)
        total = (vectors * mask.unsqueeze(-1)).sum(1)  # (batch, length, hidden_size) -> (batch, hidden_size)
        pooled = total / mask.sum(1, keepdim=True).clamp(min=1)  # an empty row gets zeros, not NaN
        loss = None
        if context_ids is not None:
            loss = self._loss(input_ids, vectors, pooled, context_ids, negative_ids, counts, mask)
        output = Word2VecOutput(loss=loss, last_hidden_state=vectors, pooler_output=pooled)
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    def _loss(
        self,
        input_ids: Tensor | None,
        vectors: Tensor,
        pooled: Tensor,
        context_ids: Tensor,
        negative_ids: Tensor | None,
        counts: Tensor | None,
        mask: Tensor,
    ) -> Tensor:
        # (batch, length, hidden_size); for CBOW one partner per window, (batch, hidden_size)
        context = self.context_embeddings(context_ids)
        if self.biases is not None and self.context_biases is not None:
            if counts is None or input_ids is None:
                raise ValueError("GloVe learns from counts: give input_ids, context_ids and counts")
            # (batch, length, 1) -> (batch, length)
            bias = (self.biases(input_ids) + self.context_biases(context_ids)).squeeze(-1)
            # (batch, length)
            losses = glove_loss((vectors * context).sum(-1) + bias, counts.to(vectors.dtype))
            return (losses * mask).sum() / mask.sum()
        if negative_ids is None:
            raise ValueError(f"{self.config.objective} learns from negative samples: give negative_ids")
        negatives = self.context_embeddings(negative_ids)  # (batch, length, k, size), CBOW (batch, k, size)
        if self.config.objective == "cbow":
            return negative_sampling_loss(pooled, context, negatives).mean()
        # All positions of the batch as rows: (batch * length, hidden_size), and for the negatives
        # (batch * length, k, hidden_size).
        losses = negative_sampling_loss(vectors.flatten(0, 1), context.flatten(0, 1), negatives.flatten(0, 1))
        return (losses * mask.flatten()).sum() / mask.sum()
