"""Finds the most probable answers to a question from a start score and an end score for every token.

The probability of a span is P(start) P(end). Each factor is a softmax over the context of the window and the
first token (`[CLS]`), which stands for "no answer here" (Devlin et al. 2018, sections 4.2 and 4.3). Within a
window, every span is scored, without first cutting the starts and ends down to a list of candidates.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..data.answer_windows import Windows, cut_windows
from ..data.batches.token_rows import second_segment

LONGEST_ANSWER = 15  # number of tokens
KEPT = 20  # number of best spans of a window, which compete with those of other windows


@dataclass(frozen=True)
class Answer:
    """An answer: `text` is `context[start:end]`, empty if there is no answer; `score` is its probability."""

    text: str
    start: int
    end: int
    score: float


def best_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    allowed: Tensor,
    longest: int = LONGEST_ANSWER,
    count: int = KEPT,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Finds the most probable spans of every window.

    Args:
        start_logits, end_logits: `(windows, length)`; the first token stands for "no answer".
        allowed: `(windows, length)`, true for tokens of the context.
        longest: maximum number of tokens in a span.
        count: maximum number of spans returned for each window.

    Returns:
        Four tensors: the log-probabilities in descending order (-inf where a window has no more spans), the
        first tokens, and the last tokens, each `(windows, count)`; and the log-probability of "no answer",
        `(windows,)`.
    """
    candidates = allowed.clone()  # (windows, length)
    candidates[:, 0] = True  # the first token competes in the softmax, but no span may contain it
    # Log-probabilities, (windows, length) each
    start, end = (
        logits.float().masked_fill(~candidates, -torch.inf).log_softmax(-1)
        for logits in (start_logits, end_logits)
    )
    nothing = start[:, 0] + end[:, 0]  # (windows,)
    # log P(span) = log P(start) + log P(end), with -inf outside the context.
    start, end = start.masked_fill(~allowed, -torch.inf), end.masked_fill(~allowed, -torch.inf)
    longest = min(longest, start.shape[1])
    # (windows, length + longest - 1) -> (windows, length, longest): ends at tokens t, t + 1, ...
    later = nn.functional.pad(end, (0, longest - 1), value=-torch.inf).unfold(1, longest, 1)
    # (windows, length, 1) + (windows, length, longest) -> (windows, length * longest)
    spans = (start[:, :, None] + later).flatten(1)
    values, indices = spans.topk(min(count, spans.shape[1]))  # each (windows, count)
    first = indices // longest  # a flat index is first * longest + (tokens after the first)
    return values, first, first + indices % longest, nothing


class SpanCollector:
    """Collects the most probable spans of all windows, batch by batch, and then turns them into answers.

    Args:
        windows: the windows that the rows of the batches come from.
        longest: maximum number of tokens in an answer.
        count: number of spans kept for each window, which compete with those of the other windows.
    """

    def __init__(self, windows: Windows, longest: int = LONGEST_ANSWER, count: int = KEPT):
        self.windows, self.longest, self.count = windows, longest, count
        self.spans: list[tuple[np.ndarray, ...]] = []
        self.nothing = np.zeros(len(windows))

    def add(self, rows: np.ndarray, start_logits: Tensor, end_logits: Tensor) -> None:
        """Adds the scores `(rows, length)` of the windows whose indices are `rows`."""
        positions = torch.arange(start_logits.shape[1])  # (length,)
        # First token of the context and first token after it, each (rows, 1).
        first, stop = (
            torch.from_numpy(bound[rows])[:, None] for bound in (self.windows.first, self.windows.stop)
        )
        allowed = (first <= positions) & (positions < stop)  # (rows, length)
        # Three times (rows, count), then (rows,).
        values, starts, ends, nothing = best_spans(
            start_logits, end_logits, allowed, self.longest, self.count
        )
        self.nothing[rows] = nothing.numpy()
        real = values.isfinite().numpy()
        # Indexing by the mask flattens: (rows, count) -> (real spans of the batch,), from here on.
        window = np.broadcast_to(rows[:, None], real.shape)[real]
        begins, stops = self.windows.characters(window, starts.numpy()[real], ends.numpy()[real])
        self.spans.append((window, begins, stops, values.numpy()[real]))

    def answers(self, contexts: Sequence[str], top_k: int = 1, no_answer: bool = False) -> list[list[Answer]]:
        """Returns the `top_k` most probable distinct answers to every question, the most probable first.

        A span that appears in several windows counts once, with its highest probability. With `no_answer`,
        "no answer" (an empty text) competes with the spans; its probability is the lowest in any window.
        """
        # One array (spans of all batches,) each.
        window, begins, stops, values = (np.concatenate(column) for column in zip(*self.spans, strict=True))
        example = self.windows.example[window]
        order = np.lexsort((-values, example))  # by question, then by descending probability
        results: list[list[Answer]] = [[] for _ in contexts]
        nothing = np.zeros(len(contexts))  # log-probabilities; 0 is the highest possible one
        np.minimum.at(nothing, self.windows.example, self.nothing)  # the lowest of each question's windows
        seen: set[tuple[int, int, int]] = set()
        for index in order:
            row, begin, stop = int(example[index]), int(begins[index]), int(stops[index])
            if len(results[row]) < top_k and (row, begin, stop) not in seen:
                seen.add((row, begin, stop))
                text = contexts[row][begin:stop]
                results[row].append(Answer(text, begin, stop, float(np.exp(values[index]))))
        if no_answer:
            for row, chance in enumerate(np.exp(nothing)):
                together = [*results[row], Answer("", 0, 0, float(chance))]
                results[row] = sorted(together, key=lambda answer: -answer.score)[:top_k]
        return results


@torch.no_grad()
def answer_windows(
    model: nn.Module, windows: Windows, pad: int, longest: int = LONGEST_ANSWER, batch_size: int = 64
) -> SpanCollector:
    """Runs `model` over all windows, batching those of similar length together."""
    was_training = model.training
    model.eval()
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    device = next(model.parameters()).device
    collector = SpanCollector(windows, longest)
    order = np.argsort(windows.rows.lengths, kind="stable")  # similar lengths need little padding
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        ids, mask = windows.rows.padded(rows, pad)  # (batch, length)
        types = {"token_type_ids": second_segment(ids, windows.second[rows]) * mask} if takes_types else {}
        inputs = {"input_ids": ids, "attention_mask": mask} | types
        output = model(**{name: value.to(device) for name, value in inputs.items()})
        collector.add(rows, output.start_logits.cpu(), output.end_logits.cpu())
    model.train(was_training)
    return collector


def answer_questions(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    contexts: Sequence[str],
    max_length: int,
    stride: int | None = None,
    top_k: int = 1,
    no_answer: bool = False,
    longest: int = LONGEST_ANSWER,
) -> list[list[Answer]]:
    """Returns the most probable answers to every question (see `SpanCollector.answers` and `cut_windows`)."""
    windows = cut_windows(tokenizer, questions, contexts, max_length, stride, whole_words=True)
    return answer_windows(model, windows, tokenizer.pad_token_id, longest).answers(contexts, top_k, no_answer)
