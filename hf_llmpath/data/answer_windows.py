"""Reads and checks questions about contexts, as in SQuAD; cuts them into windows; and labels the answers.

    train = load_questions("world/questions").train
    windows = cut_windows(tokenizer, train["question"], train["context"], max_length=96, stride=24)
    starts, ends = label_windows(windows, train["answers"])

A context that does not fit into the model is cut into several overlapping windows, each with the question
before it. If a window does not contain the answer, its label is the first token, `[CLS]` (Devlin et al. 2018,
section 4.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..errors import UserError
from .batches.token_rows import TokenRows
from .tables import Table, load_table

COLUMNS = {
    "context": ("context", "passage", "document"),
    "question": ("question", "query"),
    "answers": ("answers",),
}
LONGEST_STRIDE, LONGEST_QUESTION = 128, 64  # tokens, as in Devlin et al. 2018
Answers = dict[
    str, list
]  # `text` and `answer_start`, lists of equal length; empty for a question without an answer


def load_questions(
    dataset: str, named: Mapping[str, str | None] | None = None, size: int | None = None
) -> Table:
    """Reads `dataset` as a table with the columns `context`, `question`, and `answers`.

    Each entry of `answers` is a dict with the lists `text` and `answer_start`. A data set that holds nothing
    out is split by `title`, if it has titles, so that no article is in both splits.

    Args:
        dataset: an embedded name, a local file or folder, or a Hub id.
        named: maps a column's name here to its name in the data set, if that is not a usual one.
        size: maximum number of rows to learn from; an embedded data set can have any number.

    Raises:
        UserError: `load_table` fails, a question or context is empty, or an answer is not at the place that
            its row gives.
    """
    return load_table(
        dataset, COLUMNS, named, ("world/questions",), together="title", check=check_questions, size=size
    )


def check_questions(rows: Any, where: str) -> None:
    """Raises `UserError` for the first row that is not a question about its context, with its number."""
    columns = zip(rows["question"], rows["context"], rows["answers"], strict=True)
    for number, (question, context, answers) in enumerate(columns, 1):
        for name, text in (("question", question), ("context", context)):
            if not isinstance(text, str) or not text.strip():
                raise UserError(
                    f"row {number} of {where} has an empty {name}; every row needs a question and a context"
                )
        if not isinstance(answers, dict) or not {"text", "answer_start"} <= answers.keys():
            raise UserError(
                f"row {number} of {where} has the answers {str(answers)[:60]}; they must be a dict with the "
                "lists 'text' and 'answer_start' (both empty where there is no answer)"
            )
        if len(answers["text"]) != len(answers["answer_start"]):
            raise UserError(
                f"row {number} of {where} has {len(answers['text'])} texts of answers and "
                f"{len(answers['answer_start'])} places (answer_start); there must be one place for each text"
            )
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            if not text or start < 0 or context[start : start + len(text)] != text:
                position = context.find(text) if text else -1
                hint = f"it is at {position}" if position >= 0 else "it is not in the context at all"
                raise UserError(
                    f"row {number} of {where}: the answer '{text[:60]}' is not at answer_start "
                    f"{start} of its "
                    f"context; {hint}"
                )


@dataclass(frozen=True)
class Windows:
    """Windows over pairs of question and context, as arrays of the shape `(windows,)` unless noted.

    Attributes:
        rows: token ids, including special tokens.
        example: index of the pair that a window belongs to; the windows of a pair are consecutive.
        first, stop: the tokens `first <= t < stop` of a window belong to the context.
        second: index of the first token of type 1 in a window.
        begins, ends: the characters `begin <= c < end` of the context that a token covers, `(tokens of all
            windows,)`.
        offsets: index of a window's first token in `begins` and `ends`.
    """

    rows: TokenRows
    example: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    second: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.example)

    def characters(
        self, window: np.ndarray, start: np.ndarray, end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns where a span of a window, `start` to `end` inclusive, begins and ends in its context."""
        return self.begins[self.offsets[window] + start], self.ends[self.offsets[window] + end]


def cut_windows(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    contexts: Sequence[str],
    max_length: int,
    stride: int | None = None,
    max_question_length: int | None = None,
    whole_words: bool = False,
) -> Windows:
    """Cuts pairs of question and context into windows of at most `max_length` tokens.

    Args:
        tokenizer: a fast tokenizer, which knows where its tokens are in the text.
        questions, contexts: two sequences of texts with equal lengths.
        max_length: maximum number of tokens in a window, including special tokens and the question.
        stride: number of tokens that a window shares with the one before it, by default a quarter of
            `max_length` and at most 128.
        max_question_length: maximum number of tokens in a question, by default half of `max_length` and at
            most 64; longer questions are cut off.
        whole_words: whether `begins` and `ends` of a token are those of its word.

    Raises:
        UserError: the tokenizer has no offsets, or the windows have no room for more than the stride.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"{type(tokenizer).__name__} does not say where its tokens are in the text; use a fast tokenizer"
        )
    stride = min(LONGEST_STRIDE, max_length // 4) if stride is None else stride
    longest_question = max_question_length or min(LONGEST_QUESTION, max_length // 2)
    asked, contexts = _shortened(tokenizer, list(questions), longest_question), list(contexts)
    longest = max((len(ids) for ids in tokenizer(asked, add_special_tokens=False)["input_ids"]), default=0)
    taken = longest + tokenizer.num_special_tokens_to_add(pair=True)
    if stride < 0 or taken + stride >= max_length:
        raise UserError(
            f"windows of {max_length} tokens are too short: the longest question takes {taken} with "
            f"the special "
            f"tokens, and the overlap (stride) {stride}; use longer windows, a smaller stride or shorter "
            "questions"
        )
    # As in transformers' question-answering pipeline, the padding side decides whether the question or the
    # context comes first, and only the context may be cut.
    is_right = tokenizer.padding_side == "right"
    encoded = tokenizer(
        asked if is_right else contexts,
        contexts if is_right else asked,
        truncation="only_second" if is_right else "only_first",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    context, encodings = int(is_right), encoded.encodings
    first, stop, second = (np.empty(len(encodings), dtype=np.int64) for _ in range(3))
    for window, encoding in enumerate(encodings):
        of = encoding.sequence_ids  # per token: 0 or 1 for the text it is from, None for a special token
        first[window] = of.index(context)
        stop[window] = len(of) - of[::-1].index(context)  # one past the last token of the context
        types = encoding.type_ids
        second[window] = types.index(1) if 1 in types else len(types)
    rows = TokenRows(encoded["input_ids"])
    spans = [span for row in encoded["offset_mapping"] for span in row]
    characters = np.array(spans, dtype=np.int64).reshape(-1, 2)  # (tokens of all windows, begin and end)
    begins, ends = characters[:, 0].copy(), characters[:, 1].copy()
    if whole_words:
        words = [-1 if word is None else word for encoding in encodings for word in encoding.word_ids]
        begins, ends = _of_words(np.array(words), begins, ends, rows.lengths)
    example = np.asarray(encoded["overflow_to_sample_mapping"], dtype=np.int64)
    return Windows(rows, example, first, stop, second, begins, ends, np.cumsum(rows.lengths) - rows.lengths)


def _shortened(tokenizer: PreTrainedTokenizerBase, questions: list[str], longest: int) -> list[str]:
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        question if len(offsets) <= longest else question[: offsets[longest - 1][1]]
        for question, offsets in zip(questions, encoded["offset_mapping"], strict=True)
    ]


def _of_words(
    words: np.ndarray, begins: np.ndarray, ends: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Extends every token to its word: from the begin of the word's first token to the end of its last.

    All arrays are `(tokens of all windows,)` except `lengths`, which is `(windows,)`.
    """
    window = np.repeat(np.arange(len(lengths)), lengths)  # (windows,) -> (tokens of all windows,)
    new = np.ones(len(words), dtype=bool)  # whether a token starts a word; a special token is its own word
    new[1:] = (words[1:] != words[:-1]) | (window[1:] != window[:-1]) | (words[1:] < 0)
    starts, which = np.flatnonzero(new), np.cumsum(new) - 1  # (words,) and (tokens of all windows,)
    # reduceat gives one value per word, (words,); indexing by `which` spreads it over the word's tokens.
    return np.minimum.reduceat(begins, starts)[which], np.maximum.reduceat(ends, starts)[which]


def label_windows(windows: Windows, answers: Sequence[Answers]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and last token of the answer in every window, `(windows,)` each; 0 without an answer.

    If a question has several answers, the first one that lies entirely in the window counts.
    """
    starts, ends = np.zeros((2, len(windows)), dtype=np.int64)
    for window, example in enumerate(windows.example):
        low = windows.offsets[window] + windows.first[window]
        high = windows.offsets[window] + windows.stop[window]
        begins, stops = windows.begins[low:high], windows.ends[low:high]
        wanted = answers[example]
        for text, begin in zip(wanted["text"], wanted["answer_start"], strict=True):
            if begins[0] <= begin and begin + len(text) <= stops[-1]:
                # The last token that begins at or before the answer, and the first that ends at or after it.
                starts[window] = windows.first[window] + np.searchsorted(begins, begin, side="right") - 1
                ends[window] = windows.first[window] + np.searchsorted(stops, begin + len(text))
                break
    return starts, ends
