"""What word vectors know: neighbors, analogies, people's judgments of similarity, kinds of words, and
senses of one word.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ...errors import UserError, nearest


class WordVectors:
    """Words and their vectors scaled to length one, so that a scalar product is the cosine.

    Args:
        words: their texts.
        vectors: `(words, size)`.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        self.words = list(words)
        self.ids = {word: place for place, word in enumerate(self.words)}
        self.unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> "WordVectors":
        """The vectors of a model, special tokens left out."""
        special = set(tokenizer.all_special_tokens)
        ids = {word: place for word, place in tokenizer.get_vocab().items() if word not in special}
        words = sorted(ids, key=lambda word: ids[word])
        return cls(words, model.get_input_embeddings().weight.detach()[[ids[word] for word in words]].numpy())

    def __getitem__(self, word: str) -> np.ndarray:
        """`(size,)`, of length one.

        Raises:
            UserError: an unknown word; names the one that is spelled most like it.
        """
        place = self.ids.get(word.strip().lower())
        if place is None:
            raise UserError(
                f"'{word}' is not among the {len(self.words):,} known words{nearest(word, self.words)}"
            )
        return self.unit[place]

    def similarity(self, one: str, other: str) -> float:
        """Cosine of two words."""
        return float(self[one] @ self[other])

    def nearest(self, vector: np.ndarray, count: int, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """The `count` words whose vectors have the largest cosine with `vector`, and that cosine."""
        cosines = self.unit @ (vector / max(float(np.linalg.norm(vector)), 1e-9))
        cosines[[self.ids[word] for word in without]] = -np.inf
        count = min(count, int(np.isfinite(cosines).sum()))
        places = np.argsort(-cosines, kind="stable")[:count]
        return [(self.words[place], float(cosines[place])) for place in places]

    def neighbors(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words nearest to a word."""
        return self.nearest(self[word], count, [word.strip().lower()])

    def analogy(self, one: str, other: str, third: str, count: int = 5) -> list[tuple[str, float]]:
        """What is to `third` as `other` is to `one`: the words nearest to other - one + third (Mikolov et
        al. 2013).
        """
        words = [word.strip().lower() for word in (one, other, third)]
        return self.nearest(self[other] - self[one] + self[third], count, words)


def read_similarities(path: Path) -> list[tuple[str, str, float]]:
    """Pairs of words and how alike people find them: word, tab, word, tab, number in every line.

    Raises:
        UserError: a line of another form; names it.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            one, other, score = line.split()
            pairs.append((one.lower(), other.lower(), float(score)))
        except ValueError:
            raise UserError(
                f"{path}, line {number}: two words and a number are expected, found '{line[:40]}'"
            ) from None
    return pairs


def read_analogies(path: Path) -> list[tuple[str, str, str, str]]:
    """Questions of four words a line; lines that begin with a colon name a section.

    Raises:
        UserError: no such file, a line of another form; names it.
    """
    if not path.is_file():
        raise UserError(f"no file '{path}' with analogy questions")
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.lower().split()
        if not words or line.startswith(":"):
            continue
        if len(words) != 4:
            raise UserError(f"{path}, line {number}: four words are expected, found '{line[:40]}'")
        questions.append((words[0], words[1], words[2], words[3]))
    return questions


def similarity_correlation(
    vectors: WordVectors, pairs: Sequence[tuple[str, str, float]]
) -> tuple[float, int]:
    """Spearman's rank correlation of cosines with people's judgments, and the number of pairs of known words."""
    known = [(a, b, score) for a, b, score in pairs if a in vectors.ids and b in vectors.ids]
    if len(known) < 3:
        return float("nan"), len(known)
    found = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(found, [score for *_, score in known]).statistic), len(known)


def analogy_accuracy(
    vectors: WordVectors, questions: Sequence[tuple[str, str, str, str]]
) -> tuple[float, int]:
    """Share of the questions a : b = c : ? whose first answer is right, and the number of those whose
    words are all known.
    """
    rows = np.array(
        [[vectors.ids[word] for word in q] for q in questions if all(word in vectors.ids for word in q)]
    )
    if not len(rows):
        return float("nan"), 0
    right = 0
    for a, b, c, d in (part.T for part in np.array_split(rows, max(1, len(rows) // 256))):
        cosines = (vectors.unit[b] - vectors.unit[a] + vectors.unit[c]) @ vectors.unit.T
        cosines[np.arange(len(a))[:, None], np.stack([a, b, c], 1)] = -np.inf
        right += int((cosines.argmax(1) == d).sum())
    return right / len(rows), len(rows)


def kind_precision(vectors: WordVectors, kinds: Mapping[str, str], count: int = 5) -> float:
    """Of each word's `count` nearest among the words of `kinds`, the share that are of its own kind; the
    mean over words.
    """
    words = [word for word in kinds if word in vectors.ids]
    unit = vectors.unit[[vectors.ids[word] for word in words]]
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    of = np.array([kinds[word] for word in words])
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return float((of[near] == of[:, None]).mean())


def count_vectors(
    words: np.ndarray, contexts: np.ndarray, counts: np.ndarray, size: int, width: int
) -> np.ndarray:
    """`(size, width)`: how often each word met each of `width` others, nothing learned: the baseline of
    learned vectors.
    """
    table = np.zeros((size, width), dtype=np.float32)
    table[words, contexts] = counts
    return table


def ppmi_vectors(table: np.ndarray) -> np.ndarray:
    """Positive pointwise mutual information of a table of counts, max(0, log p(i, j) / (p(i) p(j))): what
    skip-gram factorizes, shifted (Levy & Goldberg 2014). Same shape."""
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log(table / expected), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)


@torch.no_grad()
def contextual_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    places: Sequence[tuple[int, int]],
) -> np.ndarray:
    """`(texts, hidden_size)`: the mean last hidden state of the tokens at characters `places` (from, to)
    of each text.

    Raises:
        UserError: a text is cut off before its place.
    """
    limit = model.config.max_position_embeddings
    model.eval()
    found = []
    for start in range(0, len(texts), 64):
        some, spans = list(texts[start : start + 64]), places[start : start + 64]
        inputs = tokenizer(
            some,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=limit,
            return_offsets_mapping=True,
        )
        offsets = inputs.pop("offset_mapping")
        inputs.pop("token_type_ids", None)
        states = model(**inputs).last_hidden_state
        first, last = (torch.tensor([span[end] for span in spans])[:, None] for end in (0, 1))
        inside = (offsets[..., 0] < last) & (offsets[..., 1] > first) & (offsets[..., 1] > offsets[..., 0])
        if not inside.any(1).all():
            raise UserError(
                f"the word stands beyond the first {limit} tokens, which is all that this model reads"
            )
        weight = inside.to(states.dtype).unsqueeze(-1)
        found.append(((states * weight).sum(1) / weight.sum(1)).numpy())
    return np.concatenate(found)


def sense_accuracy(vectors: np.ndarray, senses: Sequence[str]) -> float:
    """How often the sense of an occurrence is that of the nearest center of the senses, the occurrence
    itself left out.

    Args:
        vectors: `(occurrences, size)`.
        senses: of each occurrence; two or more of every sense.
    """
    names, of = np.unique(np.asarray(senses), return_inverse=True)
    one_hot = np.eye(len(names))[of]
    sums, sizes = one_hot.T @ vectors, one_hot.sum(0)
    distances = []
    for name in range(len(names)):
        own = of == name
        center = (sums[name] - own[:, None] * vectors) / (sizes[name] - own)[:, None]
        distances.append(np.linalg.norm(vectors - center, axis=1))
    return float((np.argmin(distances, axis=0) == of).mean())
