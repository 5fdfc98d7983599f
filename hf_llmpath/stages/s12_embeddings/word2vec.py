r"""Skip-gram and CBOW with negative sampling as a few large matrix products.

The original program takes one pair of words at a time. Here the text is cut into blocks of `BLOCK` words,
and a step takes many blocks:

* the vectors of a block's words are fetched once, and one batched product scores every pair inside the
  block; a band mask keeps the pairs within the window, whose width is drawn for each word;
* random words are drawn once for `GROUP` blocks and scored by a second product; each of the K words counts
  for negatives / K random ones;
* gradients are products of the same matrices, in closed form: the derivative of \(-\log \sigma(s)\) is
  \(-\sigma(-s)\), that of \(-\log \sigma(-s)\) is \(\sigma(s)\);
* the rows that were used, and no others, are updated: by Adagrad with one step size per row (Duchi et al.
  2011), or by plain gradient descent whose sum over a frequent word is bounded.

A step's loss is therefore the sum over all its pairs of the loss of Mikolov et al. 2013 with random words
shared, as in Ji et al. 2016 ("Parallelizing Word2Vec in Shared and Distributed Memory"). What is lost is the
pairs that a cut between two blocks divides, about one in ten.
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
MOST_SUMMED = 4  # gradients of one word in one step that plain gradient descent adds up at full length
VECTORS_FILE = "vectors.safetensors"  # in a checkpoint


@dataclass(frozen=True)
class Word2VecRecipe:
    """How to train.

    Attributes:
        epochs: passes over the text.
        window: the most words to each side that are neighbors; each word draws its width from 1 to this.
        negatives: random words per pair of neighbors.
        shared_negatives: random words that stand for them in each group of blocks.
        learning_rate: at the beginning; it falls linearly to a twentieth.
        optimizer: `"adagrad"` lets rare words take long steps, which little text needs; `"sgd"` is what
            the original program does, and the better one for millions of words.
        subsample: threshold above which frequent words are skipped now and then (see
            `WordCorpus.pieces`); None for never.
        batch_blocks: blocks per update, a multiple of `GROUP`.
        power: random words are drawn by their count to this power.
        precision: `"bf16"`: products in 16 bits, vectors and their updates in 32.
        saves: checkpoints on the way.
        rate_setting: the stage's setting behind `learning_rate`, for advice.
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
    """Loss and gradients of one step, in closed form.

    Args:
        objective: `"skipgram"` or `"cbow"`.
        negatives, shared: random words per pair, and how many stand for them.
    """

    def __init__(self, objective: str, negatives: int, shared: int):
        self.objective, self.share = objective, negatives / shared

    def __call__(
        self, words: Tensor, context: Tensor, random: Tensor, band: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the summed loss at each of the three inputs.

        Args:
            words, context: `(blocks, block, size)`: both vectors of every word.
            random: `(groups, shared, size)`: context vectors of the random words of each group of blocks.
            band: `(blocks, block, block)`: 1 where the word of the column is a neighbor of that of the
                row, else 0.
        """
        blocks, block, size = words.shape
        grouped = (len(random), -1, size)
        if self.objective == "skipgram":
            # sigmoid(-s), and not 1 - sigmoid(s): in 16 bits that would be 0 from s = 6.3 on
            missed = torch.bmm(words, context.transpose(1, 2)).neg_().sigmoid_().mul_(band)
            weight = band.sum(2).mul_(self.share).view(len(random), -1, 1)
            wrong = torch.bmm(words.view(grouped), random.transpose(1, 2)).sigmoid_().mul_(weight)
            to_words = torch.baddbmm(
                torch.bmm(missed, context).view(grouped), wrong, random, beta=-1
            ).view_as(words)
            to_context = torch.bmm(missed.transpose(1, 2), words).neg_()
            return to_words, to_context, torch.bmm(wrong.transpose(1, 2), words.view(grouped))
        neighbors = band.sum(2, keepdim=True)
        mean = band / neighbors.clamp(min=1)
        has_neighbors = (neighbors > 0).to(words.dtype)
        hidden = torch.bmm(mean, words)  # the mean vector of each word's neighbors
        missed = (hidden * context).sum(2, keepdim=True).neg_().sigmoid_().mul_(has_neighbors)
        flat = hidden.view(grouped)
        wrong = (
            torch.bmm(flat, random.transpose(1, 2))
            .sigmoid_()
            .mul_((has_neighbors * self.share).view(len(random), -1, 1))
        )
        to_hidden = torch.baddbmm((missed * context).view(grouped), wrong, random, beta=-1).view_as(words)
        return (
            torch.bmm(mean.transpose(1, 2), to_hidden),
            -missed * hidden,
            torch.bmm(wrong.transpose(1, 2), flat),
        )


class Rows:
    """A table of vectors of which a step changes those that it used, by `step_sizes`.

    Args:
        table: `(rows, size)`, changed in place.
    """

    def __init__(self, table: Tensor):
        self.table = table

    def take(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """The vectors `(len(rows), size)` of these rows."""
        return self.table.index_select(0, rows).to(dtype)

    def update(self, rows: Tensor, gradients: Tensor, learning_rate: float) -> None:
        """rows `(n,)`, in which a row may occur more than once; gradients `(n, size)`, which are used up."""
        gradients.mul_((self.step_sizes(rows, gradients) * -learning_rate)[rows].unsqueeze(1))
        self.table.scatter_add_(0, rows.unsqueeze(1).expand_as(gradients), gradients)

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        """What the learning rate is multiplied by, for each row of the table `(rows,)`."""
        raise NotImplementedError


class AdagradRows(Rows):
    """1 / √(sum of the squared gradients so far, averaged over the coordinates): one step size per row."""

    def __init__(self, table: Tensor):
        super().__init__(table)
        self.squares = torch.full((len(table),), _FIRST_SQUARES)

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        self.squares.index_add_(0, rows, gradients.square().mean(1))
        return self.squares.rsqrt()


class SGDRows(Rows):
    """min(1, `MOST_SUMMED` / n) for a row that occurs n times.

    The original program takes its steps one after the other, each from where the last one ended. Here all
    gradients of a step are added up, hundreds for a frequent word, which would throw it far beyond the
    point that each of them aims at.
    """

    def step_sizes(self, rows: Tensor, gradients: Tensor) -> Tensor:
        counts = torch.bincount(rows, minlength=len(self.table)).to(gradients.dtype)
        return (MOST_SUMMED / counts).clamp_(max=1)


class Word2VecTraining:
    """Trains the vectors of a model in place.

    Args:
        model: of the objective `"skipgram"` or `"cbow"`.
        corpus: encoded text.
        recipe: how.
        seed: of the order of the text, the subsampling, the windows and the random words.
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
        # (BLOCK, BLOCK); a word is too far from itself to be its own neighbor
        self.distance = (index[:, None] - index[None, :]).abs().fill_diagonal_(BLOCK)

    def run(self, job: Job) -> dict[str, float]:
        """Takes all epochs that are left; a step of the loop is one piece of the text.

        Returns:
            `words_per_second`, counted in words of the text, and `seconds`.

        Raises:
            UserError: a vector is not finite.
            KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
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
                self.numpy.bit_generator.state = epoch_begin
                for index, (ids, texts, length) in enumerate(
                    self.corpus.pieces(self.numpy, recipe.subsample)
                ):
                    order = self.numpy.permutation(len(ids) // BLOCK)
                    if index < done_before:  # after a stop, only the draws are repeated
                        continue
                    self._learn_piece(ids, texts, order, words_done / total, length / total)
                    if not all(rows.table.isfinite().all() for rows in (self.words, self.context)):
                        raise loop.diverged(loop.step + 1, "a vector")
                    words_done += length
                    if index + 1 == per_epoch:
                        epoch_begin = self.numpy.bit_generator.state
                    loop.state |= {"words_done": words_done, "epoch_begin": epoch_begin}
                    loop.after_step(None, save=self._write, tokens=length)
        return {"words_per_second": total / loop.seconds, "seconds": loop.seconds}

    def _state(self) -> dict[str, Tensor]:
        """What a piece changes, apart from the draws of `numpy`."""
        rows = {"words": self.words, "context": self.context}
        return {
            f"{name}.{part}": value
            for name, table in rows.items()
            for part, value in vars(table).items()  # the vectors; with Adagrad also the squares
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
        """Every block of a piece once, in `order`; `share_done` of the training lies before it."""
        count = len(order)
        blocks, texts = (
            torch.from_numpy(rows[: count * BLOCK].reshape(count, BLOCK)[order]).long()  # (count, BLOCK)
            for rows in (ids, texts)
        )
        for start in range(0, count, self.recipe.batch_blocks):
            stop = min(start + self.recipe.batch_blocks, count // GROUP * GROUP)
            if stop <= start:
                break
            share = share_done + share_here * start / count
            self._update(
                blocks[start:stop], texts[start:stop], self.recipe.learning_rate * max(0.05, 1 - share)
            )

    def _update(self, blocks: Tensor, texts: Tensor, learning_rate: float) -> None:
        """One step of the optimizer on `(count, BLOCK)` words."""
        count = len(blocks)
        band = self.band(texts).to(self.dtype)
        draws = (count // GROUP * self.recipe.shared_negatives,)
        random = self.random_words[torch.randint(len(self.random_words), draws, generator=self.generator)]
        rows = blocks.reshape(-1)
        to_words, to_context, to_random = self.gradients(
            self.words.take(rows, self.dtype).view(count, BLOCK, -1),
            self.context.take(rows, self.dtype).view(count, BLOCK, -1),
            self.context.take(random, self.dtype).view(count // GROUP, self.recipe.shared_negatives, -1),
            band,
        )
        self.words.update(rows, to_words.flatten(0, 1).float(), learning_rate)
        both = torch.cat([to_context.flatten(0, 1), to_random.flatten(0, 1)]).float()
        self.context.update(torch.cat([rows, random]), both, learning_rate)

    def band(self, texts: Tensor) -> Tensor:
        """`(blocks, BLOCK, BLOCK)`: whether the word of the column is a neighbor of that of the row: near
        enough, and of the same text; texts `(blocks, BLOCK)`."""
        reach = torch.randint(1, self.recipe.window + 1, (len(texts), BLOCK, 1), generator=self.generator)
        band = self.distance <= reach
        mixed = texts[:, 0] != texts[:, -1]
        band[mixed] &= texts[mixed, :, None] == texts[mixed, None, :]
        return band


def random_word_table(counts: np.ndarray, power: float, size: int = 2**20) -> Tensor:
    """`(size,)` ids in which each word occurs by its share of `counts ** power`; padding and the unknown
    word never do.
    """
    weights = np.asarray(counts, dtype=np.float64) ** power
    weights[:2] = 0
    edges = np.cumsum(weights) / weights.sum()
    return torch.from_numpy(np.searchsorted(edges, (np.arange(size) + 0.5) / size).astype(np.int64))
