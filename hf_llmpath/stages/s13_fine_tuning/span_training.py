"""Fine-tuning of an encoder to answer questions by a passage of their context, and its measures."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, set_seed

from ...data.answer_windows import Answers, Windows, cut_windows, label_windows
from ...data.batches.token_rows import TrainingBatches, second_segment
from ...decoding.answer_spans import Answer, answer_windows
from ...runs import Job
from ...training.adaptation import trainable_share
from ...training.trainer import Recipe, fit

POOL = 8  # batches that are sorted by length together
FOLLOWED = 256  # windows on which the loss is followed while training


@dataclass(frozen=True)
class Reading:
    """Questions with their contexts and answers, cut into windows and labeled.

    Attributes:
        questions, contexts, answers: of every question.
        windows: of all questions.
        starts, ends: first and last token of the answer in every window, 0 where there is none.
    """

    questions: list[str]
    contexts: list[str]
    answers: list[Answers]
    windows: Windows
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(
        cls, rows: Any, tokenizer: PreTrainedTokenizerBase, max_length: int, stride: int | None
    ) -> "Reading":
        """`rows` with the columns `question`, `context`, `answers`; the rest as in `cut_windows`."""
        questions, contexts, answers = (list(rows[name]) for name in ("question", "context", "answers"))
        windows = cut_windows(tokenizer, questions, contexts, max_length, stride)
        return cls(questions, contexts, answers, windows, *label_windows(windows, answers))

    def __len__(self) -> int:
        return len(self.questions)

    def batches(self, recipe: Recipe, pad: int, seed: int) -> TrainingBatches:
        targets = {"start_positions": self.starts, "end_positions": self.ends}
        rows, second = self.windows.rows, self.windows.second
        return TrainingBatches(
            rows, recipe.batch_size, recipe.steps, pad, seed, labels=targets, pool=POOL, second=second
        )

    @cached_property
    def right(self) -> list[list[str]]:
        """The texts of the right answers to every question."""
        return [answers["text"] for answers in self.answers]

    @property
    def has_unanswerable(self) -> bool:
        return not all(self.right)


def answer_all(model: nn.Module, reading: Reading, pad: int, top_k: int = 1) -> list[list[Answer]]:
    """The likeliest answers of `model` to every question; "no answer" competes where the data have such
    questions.
    """
    found = answer_windows(model, reading.windows, pad)
    return found.answers(reading.contexts, top_k, no_answer=reading.has_unanswerable)


def measure(model: nn.Module, reading: Reading, pad: int) -> dict[str, float]:
    """`exact_match` and `f1` of the likeliest answers, as shares of 1 (see `metrics.Squad`)."""
    from ...metrics import squad_scores

    return squad_scores([answers[0].text for answers in answer_all(model, reading, pad)], reading.right)


@torch.no_grad()
def span_loss(
    model: nn.Module, reading: Reading, pad: int, most: int = FOLLOWED, batch_size: int = 64
) -> float:
    """Mean cross-entropy in nats of where the answers begin and end, on `most` windows evenly chosen."""
    was_training = model.training
    model.eval()
    windows, total = reading.windows, 0.0
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).astype(np.int64))
    for start in range(0, len(chosen), batch_size):
        rows = chosen[start : start + batch_size]
        ids, there = windows.rows.padded(rows, pad)
        output = model(
            input_ids=ids,
            attention_mask=there,
            token_type_ids=second_segment(ids, windows.second[rows]) * there,
            start_positions=torch.from_numpy(reading.starts[rows]),
            end_positions=torch.from_numpy(reading.ends[rows]),
        )
        total += float(output.loss) * len(rows)
    model.train(was_training)
    return total / len(chosen)


def fine_tune_reader(
    make: Callable[[], nn.Module],
    train: Reading,
    held_out: Reading,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    job: Job,
    seed: int,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> dict[str, Any]:
    """Trains a reader; the result is kept in `part`, with the model (low-rank updates are merged into its
    weights).

    Args:
        make: gives the model to train, called after the seed is set: with a new head, with frozen
            weights, with low-rank updates beside its own (`adaptation.py`).
        train, held_out: what it learns from, and what it is measured on.
        tokenizer: is saved with the model.
        recipe, job, seed: see `fit`; where the recipe has evaluations, the loss on held-out windows
            is followed.
        make_optimizer: AdamW over all weights if none.

    Returns:
        `exact_match` and `f1` on the held-out questions, `validation_loss` (nats), `steps` that were
        made, the numbers `trainable_parameters` and `trainable_share`, and `seconds`.
    """
    if job.done:
        return job.result
    set_seed(seed)
    model, pad = make(), tokenizer.pad_token_id
    learning, share = trainable_share(model)
    dataset = train.batches(recipe, pad, seed)
    began = time.perf_counter()
    trainer = fit(
        model,
        dataset,
        recipe,
        job,
        seed,
        evaluate_with=(lambda trained: {"loss": span_loss(trained, held_out, pad)})
        if recipe.evaluations
        else None,
        tokens_per_step=dataset.tokens_per_step,
        optimizer=make_optimizer(model) if make_optimizer else None,
    )
    seconds = time.perf_counter() - began
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    result = measure(model, held_out, pad) | {
        "validation_loss": span_loss(model, held_out, pad, most=len(held_out.windows)),
        "steps": trainer.state.global_step,
        "trainable_parameters": learning,
        "trainable_share": share,
        "seconds": seconds,
    }
    return job.finish(result, model, tokenizer)
