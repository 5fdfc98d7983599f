"""Fine-tunes an encoder to answer a question with a passage of its context, and measures the result."""

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
from ...metrics import squad_scores
from ...runs import Job
from ...training.adaptation import trainable_share
from ...training.recipe import Recipe
from ...training.trainer import fit

POOL = 8  # batches that are sorted by length together
FOLLOWED = 256  # windows whose loss is followed during the training


@dataclass(frozen=True)
class QuestionWindows:
    """Holds questions with their contexts and answers, cut into windows and labeled.

    Attributes:
        questions, contexts, answers: one entry per question in each list.
        windows: the windows of all questions.
        starts, ends: the first and last token of the answer in each window, `(windows,)`; 0 if it has none.
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
    ) -> "QuestionWindows":
        """Cuts and labels `rows` with columns `question`, `context`, and `answers` (see `cut_windows`)."""
        questions, contexts, answers = (list(rows[name]) for name in ("question", "context", "answers"))
        windows = cut_windows(tokenizer, questions, contexts, max_length, stride)
        return cls(questions, contexts, answers, windows, *label_windows(windows, answers))

    def __len__(self) -> int:
        return len(self.questions)

    @cached_property
    def right(self) -> list[list[str]]:
        """The texts of the correct answers to each question."""
        return [answers["text"] for answers in self.answers]


@dataclass(frozen=True)
class ReaderTask:
    """Holds what all training runs of a reader have in common.

    Attributes:
        make: a function that returns the model to train. It is called after the seed is set and decides what
            is trainable: all weights with a new head, only some of them, or low-rank updates (see
            `adaptation.py`).
        train, held_out: the questions to learn from and the questions to measure on.
        tokenizer: the tokenizer, which is saved with the model.
    """

    make: Callable[[], nn.Module]
    train: QuestionWindows
    held_out: QuestionWindows
    tokenizer: PreTrainedTokenizerBase


def fine_tune_reader(
    job: Job,
    task: ReaderTask,
    recipe: Recipe,
    seed: int,
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> dict[str, Any]:
    """Trains a reader once and saves it in the job; low-rank updates are merged into its weights.

    Args:
        job, task, seed: where the result is saved, what is learned, and the seed of the head and the batches.
        recipe: the settings of the training. If it has evaluations, the loss on held-out windows is tracked,
            and `patience` stops the training early.
        make_optimizer: a function that creates the optimizer; None stands for AdamW over all weights.

    Returns:
        The `exact_match` and `f1` on the held-out questions, `validation_loss` (nats), the number of `steps`
        taken, `trainable_parameters` and `trainable_share`, and `seconds`.
    """

    def work(job: Job) -> dict[str, Any]:
        set_seed(seed)  # before `make`, which draws the weights of the new head
        model, pad = task.make(), task.tokenizer.pad_token_id
        learning, share = trainable_share(model)
        dataset = TrainingBatches(
            task.train.windows.rows,
            recipe.batch_size,
            recipe.steps,
            pad,
            seed,
            labels={"start_positions": task.train.starts, "end_positions": task.train.ends},
            pool=POOL,
            second=task.train.windows.second,
        )
        began = time.perf_counter()
        trainer = fit(
            model,
            dataset,
            recipe,
            job,
            seed,
            evaluate_with=lambda trained: {"loss": span_loss(trained, task.held_out, pad)},
            tokens_per_step=dataset.tokens_per_step,
            optimizer=make_optimizer(model) if make_optimizer else None,
        )
        seconds = time.perf_counter() - began
        if hasattr(model, "merge_and_unload"):  # peft: W + (α / r) B A becomes the new W
            model = model.merge_and_unload()
        job.save_model(model, task.tokenizer)
        return measure(model, task.held_out, pad) | {
            # Unlike the loss tracked during training, this one covers all windows.
            "validation_loss": span_loss(model, task.held_out, pad, most=len(task.held_out.windows)),
            "steps": trainer.state.global_step,
            "trainable_parameters": learning,
            "trainable_share": share,
            "seconds": seconds,
        }

    return job.once(work)


def answer_all(model: nn.Module, questions: QuestionWindows, pad: int, top_k: int = 1) -> list[list[Answer]]:
    """Returns the model's `top_k` likeliest answers to each question, the likeliest first.

    "No answer" is a candidate only if some of the questions have no answer.
    """
    spans = answer_windows(model, questions.windows, pad)
    return spans.answers(questions.contexts, top_k, no_answer=not all(questions.right))


def measure(model: nn.Module, questions: QuestionWindows, pad: int) -> dict[str, float]:
    """Computes `exact_match` and `f1` of the likeliest answers, as shares of 1 (see `metrics.Squad`)."""
    answers = answer_all(model, questions, pad)
    return squad_scores([likeliest.text for likeliest, *_ in answers], questions.right)


@torch.no_grad()
def span_loss(
    model: nn.Module, questions: QuestionWindows, pad: int, most: int = FOLLOWED, batch_size: int = 64
) -> float:
    """Computes the mean cross-entropy, in nats, over `most` evenly spaced windows.

    The cross-entropy of a window is the mean of two: one for the answer's first token, one for its last.
    """
    was_training = model.training
    model.eval()
    windows, total = questions.windows, 0.0
    # (chosen windows,); rounding down may repeat an index, which `unique` then drops.
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(most, len(windows))).astype(np.int64))
    for start in range(0, len(chosen), batch_size):
        rows = chosen[start : start + batch_size]  # (batch,)
        ids, mask = windows.rows.padded(rows, pad)  # (batch, length) each
        output = model(
            input_ids=ids,
            attention_mask=mask,
            # (batch, length): 0 for the question and the padding, 1 for the context
            token_type_ids=second_segment(ids, windows.second[rows]) * mask,
            start_positions=torch.from_numpy(questions.starts[rows]),  # (batch,)
            end_positions=torch.from_numpy(questions.ends[rows]),  # (batch,)
        )
        total += float(output.loss) * len(rows)  # the loss is a mean, and the last batch may be smaller
    model.train(was_training)
    return total / len(chosen)
