"""Running text as word ids on disk: counted once, encoded once, and then read in pieces.

The encoded text is one file of 32-bit numbers, mapped into memory; each text ends with `END_OF_TEXT`.
Only the vocabulary and the current piece are in memory, however long the text is.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from ...data.tokenizers.characters import PAD, UNKNOWN
from ...data.tokenizers.word_level import LETTERS, word_tokenizer
from ...errors import UserError

END_OF_TEXT = -1
_WORD = re.compile(LETTERS)
_PIECE = 2**18  # words that are read at once


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, punctuation left out."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words and their counts. A word's index is its id; the first two are padding and the unknown word.

    Attributes:
        words: the most frequent first.
        counts: `(words,)`.
    """

    words: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str], min_count: int = 5, max_size: int | None = None) -> "Vocabulary":
        """The words that occur `min_count` times or more, at most `max_size` of them.

        Raises:
            UserError: fewer than two words are that frequent.
        """
        seen: Counter[str] = Counter()
        for text in texts:
            seen.update(words_of(text))
        most = sorted(
            ((word, n) for word, n in seen.items() if n >= min_count), key=lambda pair: (-pair[1], pair[0])
        )
        if len(most) < 2:
            raise UserError(
                f"{len(most)} words occur {min_count} times or more; word vectors need more text or a lower "
                "min_count"
            )
        kept = most[: None if max_size is None else max(2, max_size - 2)]
        words = (PAD, UNKNOWN, *(word for word, _ in kept))
        unknown = sum(seen.values()) - sum(n for _, n in kept)
        return cls(words, np.array([0, unknown, *(n for _, n in kept)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A tokenizer of these words; any other word becomes the unknown token."""
        return word_tokenizer(self.words)


class WordCorpus:
    """Encoded text on disk; words outside the vocabulary are left out, as in word2vec.

    Args:
        path: a file written by `write`.
        vocabulary: of its words.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.ids = np.memmap(path, dtype=np.int32, mode="r")

    @classmethod
    def write(cls, texts: Iterable[str], vocabulary: Vocabulary, path: Path, window: int = 5) -> "WordCorpus":
        """Encodes `texts` into the file `path`.

        Raises:
            UserError: no text has more words than one side of the window.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        find, longest = vocabulary.ids.get, 0
        with path.open("wb") as file:
            for text in texts:
                ids = [index for index in map(find, words_of(text)) if index is not None]
                if ids:
                    longest = max(longest, len(ids))
                    np.array([*ids, END_OF_TEXT], dtype=np.int32).tofile(file)
        if longest <= window:
            raise UserError(
                f"the longest text has {longest} known words, the window reaches {window} to each side; give "
                "longer texts or a smaller window"
            )
        return cls(path, vocabulary)

    def __len__(self) -> int:
        """The number of words and ends of texts."""
        return len(self.ids)

    @property
    def piece_count(self) -> int:
        """How many pieces `pieces` yields."""
        return -(-len(self.ids) // _PIECE)

    def pieces(
        self, rng: np.random.Generator, subsample: float | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Reads the whole text once, in pieces whose order is random.

        Args:
            rng: draws the order and the subsampling.
            subsample: s in the probability sqrt(s / f) + s / f with which a word is kept whose share of
                the text is f (as in the code of Mikolov et al. 2013); None keeps each word.

        Yields:
            the ids of the words that are kept, the number of the text that each belongs to, and the
            length of the piece before words were skipped.
        """
        keep = np.ones(len(self.vocabulary), dtype=np.float32)
        if subsample is not None:
            counts = self.vocabulary.counts.copy()
            counts[:2] = 0
            share = np.maximum(counts, 1) / counts.sum()
            keep = np.minimum(1, np.sqrt(subsample / share) + subsample / share).astype(np.float32)
        for start in rng.permutation(range(0, len(self.ids), _PIECE)):
            piece = np.asarray(self.ids[start : start + _PIECE])
            is_word = piece != END_OF_TEXT
            text = np.cumsum(~is_word)
            kept = is_word & (rng.random(len(piece), dtype=np.float32) < keep[piece * is_word])
            yield piece[kept], text[kept], len(piece)
