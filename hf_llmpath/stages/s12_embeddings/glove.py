"""Implements GloVe: counts co-occurrences without a loop over pairs and fits vectors to their logarithms.

Source: Pennington, Socher & Manning, "GloVe: Global Vectors for Word Representation", 2014.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ...models.modeling_word2vec import LLMPathWord2VecModel, glove_weight
from ...runs import Job
from ...training.loop import Loop
from ...training.recipe import save_interval
from .word2vec import VECTORS_FILE, AdagradRows
from .word_corpus import WordCorpus


@dataclass(frozen=True)
class Cooccurrences:
    """Records how often words occur together; a pair and its mirror image are two entries.

    Attributes:
        words, contexts: the ids of the two words of each pair, `(pairs,)`.
        counts: the weighted counts, `(pairs,)` in float32; words at distance d within the window add 1 / d.
    """

    words: np.ndarray
    contexts: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


def count_cooccurrences(corpus: WordCorpus, window: int = 10) -> Cooccurrences:
    """Counts the pairs of a corpus, one distance at a time; pairs do not cross the boundary of a text.

    Memory grows with the number of different pairs and not with the length of the text, because each piece
    is merged into the counts as it arrives.
    """
    size = len(corpus.vocabulary)
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    keys, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    for ids, texts, _ in corpus.pieces(np.random.default_rng(0), subsample=None):
        # Each pair is stored with its smaller id first; mirror images are added at the end.
        words = ids.astype(np.int64)
        for distance in range(1, min(window, len(words) - 1) + 1):
            near = texts[distance:] == texts[:-distance]  # (words - distance,): both in the same text
            one, other = words[:-distance][near], words[distance:][near]  # (meetings,) each
            # One number encodes a pair of ids, which makes counting pairs a sort of integers.
            unique, times = np.unique(
                np.minimum(one, other) * size + np.maximum(one, other), return_counts=True
            )
            pending.append((unique, times / distance))
        # Merging sorts everything, so it waits until the pending pairs outnumber the merged ones.
        if sum(len(unique) for unique, _ in pending) > max(2**22, len(keys)):
            keys, counts = _merge(keys, counts, pending)
    keys, counts = _merge(keys, counts, pending)
    one, other = keys // size, keys % size  # (different pairs,) each
    apart = one != other
    # A word next to itself has no mirror entry, yet each of the two is the other's neighbor.
    counts = np.where(apart, counts, 2 * counts)
    return Cooccurrences(
        np.concatenate([one, other[apart]]),  # (pairs,), as are the other two
        np.concatenate([other, one[apart]]),
        np.concatenate([counts, counts[apart]]).astype(np.float32),
    )


def _merge(
    keys: np.ndarray, counts: np.ndarray, pending: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Sums the counts of equal keys and empties `pending`."""
    all_keys = np.concatenate([keys, *(unique for unique, _ in pending)])  # (entries,)
    all_counts = np.concatenate([counts, *(times for _, times in pending)])  # (entries,)
    pending.clear()
    merged, inverse = np.unique(all_keys, return_inverse=True)
    return merged, np.bincount(inverse, weights=all_counts, minlength=len(merged))


@dataclass(frozen=True)
class GloVeRecipe:
    """Describes how to train GloVe vectors.

    Attributes:
        epochs: the number of passes over the pairs.
        window: the number of words on each side that count as neighbors.
        learning_rate: the learning rate of Adagrad.
        batch_size: the number of pairs per step.
        most, power: the parameters of a pair's weight (see `glove_weight`).
        rate_setting: the name of the stage's setting behind `learning_rate`, for advice to the user.
    """

    epochs: int = 15
    window: int = 10
    learning_rate: float = 0.1
    batch_size: int = 4096
    most: float = 100.0
    power: float = 0.75
    rate_setting: str = "learning_rate"


def train_glove(
    model: LLMPathWord2VecModel, pairs: Cooccurrences, recipe: GloVeRecipe, job: Job, seed: int
) -> dict[str, float]:
    """Fits the vectors and biases of `model` in place, by gradient descent with Adagrad.

    The loss is Σ f(X_ij) (w_i · c_j + b_i + d_j - log X_ij)² over pairs of words i and j, with their count X
    and its weight f (see `glove_weight`). A word has a vector w and a bias b of its own, and a vector c and a
    bias d as the context of others.

    At the end, each word's vector is replaced by the sum of its own and its context vector, as the paper
    advises.

    Returns:
        The mean `loss` per pair in the last epoch, `pairs_per_second`, and `seconds`.

    Raises:
        UserError: If the loss is not finite.
        KeyboardInterrupt: If Ctrl-C was pressed; a checkpoint has been saved.
    """
    modules = [model.embed_tokens, model.context_embeddings, model.biases, model.context_biases]
    tables = [AdagradRows(module.weight.data) for module in modules]
    own, context, bias, context_bias = tables
    words, contexts = torch.from_numpy(pairs.words).long(), torch.from_numpy(pairs.contexts).long()
    counts = torch.from_numpy(pairs.counts)
    # log X and f(X), (pairs,) each
    logs, weights = counts.log(), glove_weight(counts, recipe.most, recipe.power)
    generator = torch.Generator().manual_seed(seed)
    per_epoch = math.ceil(len(pairs) / recipe.batch_size)
    advice = recipe.rate_setting, recipe.learning_rate
    loop = Loop(
        job, recipe.epochs * per_epoch, advice, save_every=per_epoch * save_interval(recipe.epochs, 3)
    )
    total = torch.zeros(())  # the loss of the epoch so far
    state = {f"{i}.{name}": value for i, table in enumerate(tables) for name, value in vars(table).items()}
    # If Ctrl-C interrupts an epoch, the order of its batches is drawn again from this state.
    state |= {"total": total, "epoch_begin": generator.get_state()}
    if loop.checkpoint is not None:
        for name, value in load_file(loop.checkpoint / VECTORS_FILE).items():
            state[name].copy_(value)  # in place, because `model` and `tables` share these tensors
    with loop:
        while loop.step < loop.steps:
            generator.set_state(state["epoch_begin"])  # an epoch that was interrupted gets the same order
            batches = torch.randperm(len(pairs), generator=generator).split(recipe.batch_size)
            for batch in batches[loop.step % per_epoch :]:
                if loop.step % per_epoch == 0:
                    total.zero_()
                one, other = words[batch], contexts[batch]  # (batch,) each
                # (batch, size) each
                vectors, partners = own.take(one, torch.float32), context.take(other, torch.float32)
                # s = w · c + b + d, (batch,); the two biases are (batch, 1) before the squeeze
                scores = (vectors * partners).sum(1) + (bias.table[one] + context_bias.table[other]).squeeze(
                    1
                )
                error = scores - logs[batch]  # (batch,)
                loss = (weights[batch] * error.square()).sum()  # Σ f(X) (s - log X)²
                loop.require_finite(loss.item())
                total += loss
                slope = (2 * weights[batch] * error).unsqueeze(1)  # dL/ds = 2 f(X) (s - log X), (batch, 1)
                own.update(one, slope * partners, recipe.learning_rate)  # dL/dw = dL/ds c
                context.update(other, slope * vectors, recipe.learning_rate)  # dL/dc = dL/ds w
                bias.update(one, slope.clone(), recipe.learning_rate)  # `update` overwrites its gradients
                context_bias.update(other, slope.clone(), recipe.learning_rate)
                if (loop.step + 1) % per_epoch == 0:
                    state["epoch_begin"].copy_(generator.get_state())
                loop.after_step(
                    loss.item() / len(batch), save=lambda folder: save_file(state, folder / VECTORS_FILE)
                )
    with torch.no_grad():
        model.embed_tokens.weight += model.context_embeddings.weight
    pairs_per_second = recipe.epochs * len(pairs) / loop.seconds
    return {"loss": total.item() / len(pairs), "pairs_per_second": pairs_per_second, "seconds": loop.seconds}
