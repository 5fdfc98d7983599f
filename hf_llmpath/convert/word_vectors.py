"""Reads and writes word vectors as text files.

A file of word2vec begins with a line that gives the number of words and the vector size; a file of GloVe has
no such line. gensim's `KeyedVectors.load_word2vec_format` reads what `write_vectors` writes, and vice versa.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from ..data.tokenizers.characters import PAD, UNKNOWN
from ..data.tokenizers.word_level import word_tokenizer
from ..errors import UserError
from ..models.configuration_word2vec import LLMPathWord2VecConfig
from ..models.modeling_word2vec import LLMPathWord2VecModel

_SIZES = re.compile(r"(\d+) (\d+)")


def write_vectors(words: Sequence[str], vectors: np.ndarray, path: Path) -> None:
    """Writes `vectors` `(words, size)` in the text format of word2vec.

    Raises:
        UserError: a word contains white space, which separates the fields of this format.
    """
    for word in words:
        if not word or word.split() != [word]:
            raise UserError(f"'{word}' has white space in it; the word2vec format separates by white space")
    # Nine significant digits determine a 32-bit float exactly.
    line = "%s " + " ".join(["%.9g"] * vectors.shape[1]) + "\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, row in zip(words, vectors.tolist(), strict=True):
            file.write(line % (word, *row))


def read_vectors(path: Path, limit: int | None = None) -> tuple[list[str], np.ndarray]:
    """Reads words and their vectors, `(words, size)` float32, from a text file of word2vec or GloVe.

    Any word except the first may contain spaces, as some words in GloVe's largest file do.

    Args:
        path: the file. In the format of word2vec, its first line gives the number of words and the vector
            size.
        limit: maximum number of words to read; these files start with the most frequent words.

    Raises:
        UserError: the file does not exist or is empty, a line has a different number of values or a value
            that is not a number, or the number of words differs from what the first line says. The message
            names the line.
    """
    if not path.is_file():
        raise UserError(f"no file '{path}' with vectors")
    words: list[str] = []
    rows: list[np.ndarray] = []
    size = promised = None
    # Only \n ends a line, because a word may contain \r. Bytes that are not UTF-8 are replaced, because one
    # damaged word should not stop the reading.
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip()
            if number == 1 and (sizes := _SIZES.fullmatch(line)):
                promised, size = (int(value) for value in sizes.groups())
                continue
            if limit is not None and len(words) >= limit:
                break
            if not line:
                continue
            word, _, values = line.partition(" ")
            row = _numbers(values)
            # A word that contains spaces: the last `size` fields are its vector.
            if row is None and size and len(parts := line.rsplit(" ", size)) > size:
                word, row = parts[0], _numbers(" ".join(parts[1:]))
            if row is None:
                raise UserError(
                    f"{path}, line {number}: a word and numbers are expected, found '{line[:40]}'"
                )
            size = size or len(row)
            if len(row) != size:
                raise UserError(
                    f"{path}, line {number}: {len(row)} values for '{word[:20]}', the others have {size}"
                )
            words.append(word)
            rows.append(row)
    if not words:
        raise UserError(f"{path} holds no vectors")
    if promised is not None and limit is None and len(words) != promised:
        raise UserError(
            f"{path}: the first line says {promised} words, there are {len(words)}; the file is cut off"
        )
    return words, np.stack(rows)  # (words, size)


def _numbers(text: str) -> np.ndarray | None:
    """Returns the numbers in a text, or None if it holds anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy reports text that is not a number
        try:
            row = np.fromstring(text, dtype=np.float32, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    return row if len(row) and np.isfinite(row).all() else None


def from_vectors(
    words: Sequence[str], vectors: np.ndarray
) -> tuple[LLMPathWord2VecModel, PreTrainedTokenizerFast]:
    """Returns a model with these vectors, and its tokenizer.

    Padding and the unknown word are added, with vectors of zeros. Words are lowercased; among words that
    differ only in case, the first one counts.

    Args:
        words: the words, one per row.
        vectors: `(words, size)`.
    """
    rows: dict[str, int] = {}
    for row, word in enumerate(words):
        rows.setdefault(word.lower(), row)  # the first spelling stays
    own = [word for word in rows if word not in (PAD.lower(), UNKNOWN.lower())]
    config = LLMPathWord2VecConfig(vocab_size=len(own) + 2, hidden_size=vectors.shape[1])
    model = LLMPathWord2VecModel(config).eval()
    with torch.no_grad():
        model.embed_tokens.weight.zero_()
        kept = np.ascontiguousarray(vectors[[rows[word] for word in own]])  # (words, size)
        model.embed_tokens.weight[2:] = torch.from_numpy(kept)  # rows 0 and 1: padding, the unknown word
        model.context_embeddings.weight.zero_()  # these files have no vectors of contexts
    return model, word_tokenizer([PAD, UNKNOWN, *own])


def to_vectors(model: LLMPathWord2VecModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Writes the vectors of a model's words, except special tokens and words that contain white space."""
    vocabulary = tokenizer.get_vocab().items()
    ids = {word: index for word, index in vocabulary if word not in (PAD, UNKNOWN) and word.split() == [word]}
    words = sorted(ids, key=lambda word: ids[word])  # in the order of the rows
    # (vocabulary, size) -> (words, size)
    write_vectors(words, model.embed_tokens.weight.detach()[[ids[word] for word in words]].numpy(), path)
