"""GloVe: how often words meet, counted without a loop over pairs, and vectors fitted to the logarithms of
the counts.

Source: Pennington, Socher & Manning, "GloVe: Global Vectors for Word Representation", 2014.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...errors import UserError
from ...models.modeling_word2vec import LLMPathWord2VecModel, glove_weight
from .word2vec import AdagradRows
from .word_corpus import WordCorpus


@dataclass(frozen=True)
class Cooccurrences:
    """How often words meet; a pair and its mirror image are two entries.

    Attributes:
        words, contexts: ids, `(pairs,)`.
        counts: `(pairs,)` float32: each meeting at distance d within the window counts 1 / d.
    """

    words: np.ndarray
    contexts: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


def count_cooccurrences(corpus: WordCorpus, window: int = 10) -> Cooccurrences:
    """Counts the pairs of a whole text, each distance at once; pairs do not cross the end of a text.

    Memory grows with the number of different pairs, not with the length of the text: pieces are merged as
    they come.
    """
    size = len(corpus.vocabulary)
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    keys, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    for ids, texts, _ in corpus.pieces(np.random.default_rng(0), subsample=None):
        # The smaller id first: the mirror image is added at the end.
        words = ids.astype(np.int64)
        for distance in range(1, min(window, len(words) - 1) + 1):
            near = texts[distance:] == texts[:-distance]
            one, other = words[:-distance][near], words[distance:][near]
            found, times = np.unique(
                np.minimum(one, other) * size + np.maximum(one, other), return_counts=True
            )
            pending.append((found, times / distance))
        if sum(len(found) for found, _ in pending) > max(2**22, len(keys)):
            keys, counts = _merge(keys, counts, pending)
    keys, counts = _merge(keys, counts, pending)
    one, other = keys // size, keys % size
    apart = one != other
    # A word beside itself is one pair, but each of the two is the other's neighbor.
    counts = np.where(apart, counts, 2 * counts)
    return Cooccurrences(
        np.concatenate([one, other[apart]]),
        np.concatenate([other, one[apart]]),
        np.concatenate([counts, counts[apart]]).astype(np.float32),
    )


def _merge(
    keys: np.ndarray, counts: np.ndarray, pending: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums what belongs to the same key; empties `pending`."""
    all_keys = np.concatenate([keys, *(found for found, _ in pending)])
    all_counts = np.concatenate([counts, *(times for _, times in pending)])
    pending.clear()
    merged, place = np.unique(all_keys, return_inverse=True)
    return merged, np.bincount(place, weights=all_counts, minlength=len(merged))


@dataclass(frozen=True)
class GloVeRecipe:
    """How to train.

    Attributes:
        epochs: passes over the pairs.
        window: words to each side that count as neighbors.
        learning_rate: of Adagrad.
        batch_size: pairs per step.
        most, power: of the weight of a pair (see `glove_weight`).
    """

    epochs: int = 15
    window: int = 10
    learning_rate: float = 0.1
    batch_size: int = 4096
    most: float = 100.0
    power: float = 0.75


def train_glove(
    model: LLMPathWord2VecModel, pairs: Cooccurrences, recipe: GloVeRecipe, seed: int, progress: Any
) -> dict[str, float]:
    """Fits the vectors and biases of `model` in place; afterwards a word's vector is the sum of its two,
    as the paper advises.

    Returns:
        `loss`, the mean over the pairs of the last epoch, `pairs_per_second` and `seconds`.

    Raises:
        UserError: the loss became infinite.
    """
    tables = [model.embed_tokens, model.context_embeddings, model.biases, model.context_biases]
    own, context, bias, context_bias = (AdagradRows(table.weight.data) for table in tables)  # type: ignore[union-attr]
    words, contexts = torch.from_numpy(pairs.words).long(), torch.from_numpy(pairs.contexts).long()
    counts = torch.from_numpy(pairs.counts)
    logs, weights = counts.log(), glove_weight(counts, recipe.most, recipe.power)
    generator = torch.Generator().manual_seed(seed)
    began, loss, done = time.perf_counter(), torch.zeros(()), 0
    for _ in range(recipe.epochs):
        order, loss, seen = torch.randperm(len(pairs), generator=generator), torch.zeros(()), 0
        for batch in order.split(recipe.batch_size):
            one, other = words[batch], contexts[batch]
            vectors, partners = own.take(one, torch.float32), context.take(other, torch.float32)
            scores = (vectors * partners).sum(1) + (bias.table[one] + context_bias.table[other]).squeeze(1)
            error = scores - logs[batch]
            loss += (weights[batch] * error.square()).sum()
            slope = (2 * weights[batch] * error).unsqueeze(1)
            own.update(one, slope * partners, recipe.learning_rate)
            context.update(other, slope * vectors, recipe.learning_rate)
            bias.update(one, slope.clone(), recipe.learning_rate)
            context_bias.update(other, slope.clone(), recipe.learning_rate)
            done, seen = done + len(batch), seen + len(batch)
            progress.update(done, loss=loss.item() / seen)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is not finite; try a lower learning rate than {recipe.learning_rate:g}"
            )
    with torch.no_grad():
        model.embed_tokens.weight += model.context_embeddings.weight
    seconds = time.perf_counter() - began
    return {"loss": loss.item() / len(pairs), "pairs_per_second": done / seconds, "seconds": seconds}
