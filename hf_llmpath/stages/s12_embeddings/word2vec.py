r"""Implements skip-gram and CBOW with negative sampling as a few large matrix products.

The original program processes one pair of words at a time. Here the text is cut into blocks of `BLOCK`
words, and each step processes many blocks:

* The vectors of a block's words are fetched once, and one batched product scores every pair inside the
  block. A band mask keeps the pairs within the window, whose width is drawn for each word.
* Random words are drawn once for each group of `GROUP` blocks and scored by a second product. Each of the K
  words drawn carries the weight of negatives / K random words.
* Gradients are products of the same matrices in closed form: the derivative of \(-\log \sigma(s)\) is
  \(-\sigma(-s)\), and that of \(-\log \sigma(-s)\) is \(\sigma(s)\).
* Only the rows that were used are updated, either by Adagrad with one step size per row (Duchi et al. 2011)
  or by plain gradient descent with a bounded sum of gradients for a frequent word.

The loss of a step thus equals the loss of Mikolov et al. 2013, summed over all pairs of the step, with shared
random words as in Ji et al. 2016 ("Parallelizing Word2Vec in Shared and Distributed Memory"). Only the pairs
that a cut between two blocks separates are missing, about one in ten.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...models.modeling_word2vec import LLMPathWord2VecModel
from ...runs import Job
from ...training.loop import Loop
from .word_corpus import WordCorpus

BLOCK = 32  # words
GROUP = 8  # blocks that share their random words
_FIRST_SQUARES = 0.1  # start of the sums of squared gradients
MOST_SUMMED = 4  # gradients of one word per step that plain gradient descent adds up without scaling down
VECTORS_FILE = "vectors.safetensors"  # in a checkpoint


@dataclass(frozen=True)
class Word2VecRecipe:
    """Describes how to train word vectors by skip-gram or CBOW.

    Attributes:
        epochs: the number of passes over the text.
        window: the largest number of neighbors on each side; each word draws its own width from 1 to this.
        negatives: the number of random words per pair of neighbors.
        shared_negatives: the number of random words that each group of blocks draws in place of `negatives`
            words per pair.
        learning_rate: the learning rate at the beginning; it falls linearly to a twentieth of this.
        optimizer: `"adagrad"`, which lets rare words take long steps and suits small texts, or `"sgd"`,
            which the original program uses and which is better for millions of words.
        subsample: the threshold above which frequent words are sometimes skipped (see `WordCorpus.pieces`);
            None never skips a word.
        batch_blocks: the number of blocks per update, a multiple of `GROUP`.
        power: the exponent of the counts by which random words are drawn.
        precision: `"bf16"` for products in 16 bits with vectors and updates in 32 bits, or `"no"`.
        saves: the number of checkpoints during training.
        rate_setting: the name of the stage's setting behind `learning_rate`, for advice to the user.
    """

    epochs: int = 3
    window: int = 5
    negatives: int = 5
    shared_negatives: int = 64
    learning_rate: float = 0.3
    optimizer: Literal["adagrad", "sgd"] = "adagrad"
    subsample: float | None = 1e-3
    batch_blocks: int = 128
    power: float = 0.75
    precision: Literal["no", "bf16"] = "no"
    saves: int = 3
    rate_setting: str = "learning_rate"


class Gradients:
    """Computes the gradients of one step in closed form.

    Args:
        objective: `"skipgram"` or `"cbow"`.
        negatives, shared: the number of random words per pair, and the number of words that a group of blocks
            draws in their place.
    """

    def __init__(self, objective: str, negatives: int, shared: int):
        self.objective, self.share = objective, negatives / shared  # the weight of a shared random word

    def __call__(
        self, words: Tensor, context: Tensor, random: Tensor, band: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the gradients of the summed loss with respect to each of the three inputs.

        Args:
            words, context: the two vectors of every word, each `(blocks, block, size)`.
            random: the context vectors of each group's random words, `(groups, shared, size)`.
            band: 1 where the column's word is a neighbor of the row's word, else 0: `(blocks, block, block)`.

        Returns:
            The gradients for `words`, `context`, and `random`, in the shapes of the inputs.
        """
        blocks, block, size = words.shape
        grouped = (len(random), -1, size)  # (groups, GROUP * block, size)
        if self.objective == "skipgram":
            # -dL/ds = σ(-s) for neighbors, (blocks, block, block). In 16 bits, 1 - σ(s) would be 0
            # from s = 6.3 on.
            missed = torch.bmm(words, context.transpose(1, 2)).neg_().sigmoid_().mul_(band)
            # A word with n neighbors has n * negatives random words.
            weight = band.sum(2).mul_(self.share).view(len(random), -1, 1)  # (groups, GROUP * block, 1)
            # dL/ds = σ(s) for random words, (groups, GROUP * block, shared)
            wrong = torch.bmm(words.view(grouped), random.transpose(1, 2)).sigmoid_().mul_(weight)
            # dL/dw = -Σ σ(-s) c + Σ σ(s) n, (blocks, block, size): neighbors pull, random words push.
            to_words = torch.baddbmm(
                torch.bmm(missed, context).view(grouped), wrong, random, beta=-1
            ).view_as(words)
            to_context = torch.bmm(missed.transpose(1, 2), words).neg_()  # (blocks, block, size)
            # The last gradient is (groups, shared, size).
            return to_words, to_context, torch.bmm(wrong.transpose(1, 2), words.view(grouped))
        # CBOW: the mean of the neighbors' vectors predicts the word in the middle.
        neighbors = band.sum(2, keepdim=True)  # (blocks, block, 1)
        mean = band / neighbors.clamp(min=1)  # (blocks, block, block), each row with sum 1
        has_neighbors = (neighbors > 0).to(words.dtype)  # (blocks, block, 1)
        hidden = torch.bmm(mean, words)  # (blocks, block, size): the mean vector of each word's neighbors
        # -dL/ds = σ(-s), (blocks, block, 1); a word without neighbors makes no prediction.
        missed = (hidden * context).sum(2, keepdim=True).neg_().sigmoid_().mul_(has_neighbors)
        flat = hidden.view(grouped)  # (groups, GROUP * block, size)
        # (groups, GROUP * block, shared)
        wrong = (
            torch.bmm(flat, random.transpose(1, 2))
            .sigmoid_()
            .mul_((has_neighbors * self.share).view(len(random), -1, 1))
        )
        # (blocks, block, size)
        to_hidden = torch.baddbmm((missed * context).view(grouped), wrong, random, beta=-1).view_as(words)
        return (
            torch.bmm(mean.transpose(1, 2), to_hidden),  # (blocks, block, size)
            -missed * hidden,  # (blocks, block, size)
            torch.bmm(wrong.transpose(1, 2), flat),  # (groups, shared, size)
        )


class Rows:
    """Wraps a table of vectors; each step updates only the rows that it used, scaled by `step_sizes`.

    Args:
        table: the vectors, `(rows, size)`, which are changed in place.
    """

    def __init__(self, table: Tensor):
        self.table = table

    def take(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Returns the vectors of the given rows, `(len(rows), size)`."""
        return self.table.index_select(0, rows).to(dtype)

    def update(self, rows: Tensor, gradients: Tensor, learning_rate: float) -> None:
        """Takes one step on the given rows.

        Args:
            rows: the rows to update, `(n,)`; a row may occur more than once.
            gradients: one gradient for each of `rows`, `(n, size)`; the tensor is overwritten.
            learning_rate: the factor for all step sizes.
        """
        # (rows,) indexed by rows -> (n,) -> (n, 1)
        gradients.mul_((self.step_sizes(rows, gradients) * -learning_rate)[rows].unsqueeze(1))
        # The index is (n, size), a view without copies; repeated rows add up.
        self.table.scatter_add_(0, rows.unsqueeze(1).expand_as(gradients), gradients)

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        """Returns the factor of the learning rate for each row of the table, `(rows,)`."""
        raise NotImplementedError


class AdagradRows(Rows):
    """Gives each row the step size 1 / √(sum of its squared gradients so far, averaged over coordinates)."""

    def __init__(self, table: Tensor):
        super().__init__(table)
        self.squares = torch.full((len(table),), _FIRST_SQUARES)  # (rows,)

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        self.squares.index_add_(0, rows, gradients.square().mean(1))  # (n, size) -> (n,); repeats add up
        return self.squares.rsqrt()  # (rows,)


class SGDRows(Rows):
    """Gives a row that occurs n times in a step the step size min(1, `MOST_SUMMED` / n).

    The original program takes its steps one after another, each starting where the last one ended. Here all
    gradients of a step are added up. A frequent word has hundreds of them, and their sum would throw it far
    past the point that each of them aims at.
    """

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        counts = torch.bincount(rows, minlength=len(self.table)).to(gradients.dtype)  # (rows,)
        return (MOST_SUMMED / counts).clamp_(max=1)  # a count of 0 gives infinity, clamped to 1


class Word2VecTraining:
    """Trains the vectors of a model in place.

    Args:
        model: a model whose configuration names the objective, `"skipgram"` or `"cbow"`.
        corpus: the encoded text.
        recipe: the settings of the training.
        seed: the seed for the order of the text, the subsampling, the windows, and the random words.
    """

    def __init__(self, model: LLMPathWord2VecModel, corpus: WordCorpus, recipe: Word2VecRecipe, seed: int):
        if recipe.batch_blocks % GROUP:
            raise ValueError(f"batch_blocks ({recipe.batch_blocks}) must be a multiple of {GROUP}")
        self.corpus, self.recipe = corpus, recipe
        kind = AdagradRows if recipe.optimizer == "adagrad" else SGDRows
        self.words, self.context = (
            kind(model.embed_tokens.weight.data),
            kind(model.context_embeddings.weight.data),
        )
        self.gradients = Gradients(model.config.objective, recipe.negatives, recipe.shared_negatives)
        self.dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        self.numpy = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.random_words = random_word_table(corpus.vocabulary.counts, recipe.power)
        index = torch.arange(BLOCK)
        # (BLOCK, BLOCK); the diagonal is set too far away for a word to be its own neighbor
        self.distance = (index[:, None] - index[None, :]).abs().fill_diagonal_(BLOCK)

    def run(self, job: Job) -> dict[str, float]:
        """Trains for all remaining epochs; one step of the loop is one piece of the text.

        Returns:
            The training speed `words_per_second`, counted in words of the text, and `seconds`.

        Raises:
            UserError: If a vector is not finite.
            KeyboardInterrupt: If Ctrl-C was pressed; a checkpoint has been saved.
        """
        recipe, per_epoch = self.recipe, self.corpus.piece_count
        total = recipe.epochs * len(self.corpus)
        advice = recipe.rate_setting, recipe.learning_rate
        loop = Loop(job, recipe.epochs * per_epoch, advice, recipe.saves, log_every=0)
        if loop.checkpoint is not None:
            self._read(loop.checkpoint)
        words_done = loop.state.get("words_done", 0)
        epoch_begin = loop.state.get("epoch_begin", self.numpy.bit_generator.state)
        with loop:
            while loop.step < loop.steps:
                done_before = loop.step % per_epoch
                # An interrupted epoch begins again with the same draws.
                self.numpy.bit_generator.state = epoch_begin
                for index, (ids, texts, length) in enumerate(
                    self.corpus.pieces(self.numpy, recipe.subsample)
                ):
                    order = self.numpy.permutation(len(ids) // BLOCK)
                    if index < done_before:  # learned before the stop: only its random draws are repeated
                        continue
                    self._learn_piece(ids, texts, order, words_done / total, length / total)
                    # The loss is never computed, so a divergence shows in the vectors.
                    if not all(rows.table.isfinite().all() for rows in (self.words, self.context)):
                        raise loop.diverged(loop.step + 1, "a vector")
                    words_done += length
                    if index + 1 == per_epoch:
                        epoch_begin = self.numpy.bit_generator.state
                    loop.state |= {"words_done": words_done, "epoch_begin": epoch_begin}
                    loop.after_step(None, save=self._write, tokens=length)
        return {"words_per_second": total / loop.seconds, "seconds": loop.seconds}

    def _state(self) -> dict[str, Tensor]:
        """Returns the tensors that a piece changes; the state of `numpy`'s generator is kept elsewhere."""
        rows = {"words": self.words, "context": self.context}
        return {
            f"{name}.{part}": value
            for name, table in rows.items()
            for part, value in vars(table).items()  # the vectors and, with Adagrad, the squares
        }

    def _write(self, folder: Path) -> None:
        save_file(self._state() | {"generator": self.generator.get_state()}, folder / VECTORS_FILE)

    def _read(self, checkpoint: Path) -> None:
        tensors = load_file(checkpoint / VECTORS_FILE)
        self.generator.set_state(tensors["generator"])
        for name, value in self._state().items():
            value.copy_(tensors[name])

    def _learn_piece(
        self, ids: np.ndarray, texts: np.ndarray, order: np.ndarray, share_done: float, share_here: float
    ) -> None:
        """Learns every block of a piece once, in `order`.

        Args:
            ids, texts: the word ids of the piece and the text that each word belongs to, `(words,)`.
            order: a permutation of the blocks, `(count,)`.
            share_done, share_here: the shares of the training that precede this piece and that it makes up.
        """
        count = len(order)
        blocks, texts = (
            torch.from_numpy(rows[: count * BLOCK].reshape(count, BLOCK)[order]).long()  # (count, BLOCK)
            for rows in (ids, texts)
        )
        for start in range(0, count, self.recipe.batch_blocks):
            # Every update has whole groups; the last few blocks of a piece may be left out.
            stop = min(start + self.recipe.batch_blocks, count // GROUP * GROUP)
            if stop <= start:
                break
            share = share_done + share_here * start / count  # of the training before this update
            self._update(
                blocks[start:stop], texts[start:stop], self.recipe.learning_rate * max(0.05, 1 - share)
            )

    def _update(self, blocks: Tensor, texts: Tensor, learning_rate: float) -> None:
        """Takes one optimizer step on `(count, BLOCK)` words."""
        count = len(blocks)
        band = self.band(texts).to(self.dtype)  # (count, BLOCK, BLOCK)
        draws = (count // GROUP * self.recipe.shared_negatives,)
        # (groups * shared,)
        random = self.random_words[torch.randint(len(self.random_words), draws, generator=self.generator)]
        rows = blocks.reshape(-1)  # (count * BLOCK,)
        to_words, to_context, to_random = self.gradients(
            self.words.take(rows, self.dtype).view(count, BLOCK, -1),  # (count, BLOCK, size)
            self.context.take(rows, self.dtype).view(count, BLOCK, -1),  # (count, BLOCK, size)
            # (groups, shared, size)
            self.context.take(random, self.dtype).view(count // GROUP, self.recipe.shared_negatives, -1),
            band,
        )
        self.words.update(rows, to_words.flatten(0, 1).float(), learning_rate)  # (count * BLOCK, size)
        # One update for both kinds of context rows, (count * BLOCK + groups * shared, size), because a
        # random word may also occur in the text.
        both = torch.cat([to_context.flatten(0, 1), to_random.flatten(0, 1)]).float()
        self.context.update(torch.cat([rows, random]), both, learning_rate)

    def band(self, texts: Tensor) -> Tensor:
        """Marks neighbors: whether the column's word is near enough to the row's word and in the same text.

        Args:
            texts: the number of the text that each word belongs to, `(blocks, BLOCK)`.

        Returns:
            A boolean tensor, `(blocks, BLOCK, BLOCK)`.
        """
        # (blocks, BLOCK, 1): each word draws its own window.
        reach = torch.randint(1, self.recipe.window + 1, (len(texts), BLOCK, 1), generator=self.generator)
        band = self.distance <= reach  # (blocks, BLOCK, BLOCK)
        mixed = texts[:, 0] != texts[:, -1]  # (blocks,); only blocks with several texts need the comparison
        # (mixed, BLOCK, 1) == (mixed, 1, BLOCK) -> (mixed, BLOCK, BLOCK)
        band[mixed] &= texts[mixed, :, None] == texts[mixed, None, :]
        return band


def random_word_table(counts: np.ndarray, power: float, size: int = 2**20) -> Tensor:
    """Builds a table of ids, `(size,)`, in which each word occurs by its share of `counts ** power`.

    A uniform draw from the table is a weighted draw of a word. Padding and the unknown word are not in it.
    """
    weights = np.asarray(counts, dtype=np.float64) ** power
    weights[:2] = 0  # padding and the unknown word
    edges = np.cumsum(weights) / weights.sum()  # (words,): where each word's share of [0, 1] ends
    # The middle of each of `size` equal cells falls into the share of one word.
    return torch.from_numpy(np.searchsorted(edges, (np.arange(size) + 0.5) / size).astype(np.int64))
