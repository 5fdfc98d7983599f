"""Stores running text on disk as word ids: the text is counted once, encoded once, and then read in pieces.

The encoded text is one file of 32-bit numbers, mapped into memory; each text ends with `END_OF_TEXT`.
Memory holds only the vocabulary and the current piece, however long the text is.
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
_PIECE = 2**18  # words and end marks read at once


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Holds words and their counts; a word's index is its id.

    Attributes:
        words: padding, the unknown word, and then the words, most frequent first.
        counts: the number of times each word occurs, `(words,)`.
    """

    words: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str], min_count: int = 5, max_size: int | None = None) -> "Vocabulary":
        """Counts words and keeps those that occur at least `min_count` times, at most `max_size` in all.

        Raises:
            UserError: If fewer than two words are that frequent.
        """
        seen: Counter[str] = Counter()
        for text in texts:
            seen.update(words_of(text))
        # Equally frequent words come in alphabetical order, for the same ids in every run.
        most = sorted(
            ((word, n) for word, n in seen.items() if n >= min_count), key=lambda pair: (-pair[1], pair[0])
        )
        if len(most) < 2:
            raise UserError(
                f"{len(most)} words occur {min_count} times or more; word vectors need more text or a lower "
                "min_count"
            )
        # Two ids are reserved for padding and the unknown word.
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
        """Returns a tokenizer of these words; any other word becomes the unknown token."""
        return word_tokenizer(self.words)


class WordCorpus:
    """Reads encoded text from disk; words outside the vocabulary are left out, as in word2vec.

    Args:
        path: a file written by `write`.
        vocabulary: the vocabulary by which the file was encoded.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.ids = np.memmap(path, dtype=np.int32, mode="r")

    @classmethod
    def write(cls, texts: Iterable[str], vocabulary: Vocabulary, path: Path, window: int = 5) -> "WordCorpus":
        """Encodes `texts` into the file `path`.

        Raises:
            UserError: If no text has more words than one side of the window.
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
        """Returns the number of words plus the number of texts, each of which has an end mark."""
        return len(self.ids)

    @property
    def piece_count(self) -> int:
        """The number of pieces that `pieces` yields."""
        return -(-len(self.ids) // _PIECE)  # rounded up

    def pieces(
        self, rng: np.random.Generator, subsample: float | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Reads the whole text once, in pieces of random order.

        Args:
            rng: the random generator for the order and the subsampling.
            subsample: the threshold s: a word that makes up the share f of the text is kept with probability
                sqrt(s / f) + s / f (as in the code of Mikolov et al. 2013). None keeps every word.

        Yields:
            The ids of the words that are kept, the number of the text that each belongs to, and the length
            of the piece before words were skipped.
        """
        keep = np.ones(len(self.vocabulary), dtype=np.float32)
        if subsample is not None:
            counts = self.vocabulary.counts.copy()
            counts[:2] = 0  # padding and the unknown word are not in the text
            share = np.maximum(counts, 1) / counts.sum()  # f, (words,); not 0, because it divides below
            # P(keep) = min(1, √(s / f) + s / f)
            keep = np.minimum(1, np.sqrt(subsample / share) + subsample / share).astype(np.float32)
        for start in rng.permutation(range(0, len(self.ids), _PIECE)):
            piece = np.asarray(self.ids[start : start + _PIECE])
            is_word = piece != END_OF_TEXT  # (piece,)
            text = np.cumsum(~is_word)  # (piece,): the ends so far number the texts
            # `piece * is_word` turns an end mark, -1, into a valid index.
            kept = is_word & (rng.random(len(piece), dtype=np.float32) < keep[piece * is_word])
            yield piece[kept], text[kept], len(piece)
