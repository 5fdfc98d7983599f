"""Probes what word vectors know: neighbors, analogies, human judgments of similarity, and kinds of words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ...errors import UserError, nearest
from ...world.vocabulary import ANIMALS, FOODS, PEOPLE, PLACES, QUALITIES, RELATIVES, THINGS, TIMES, WEATHERS

Judgment = tuple[str, str, float]  # two words, and how similar people find them
Analogy = tuple[str, str, str, str]  # a is to b as c is to d

# Metric -> a part of the name that Hugging Face's and gensim's collections give the file of word pairs.
JUDGED = {"wordsim353": "WS-353-ALL", "men": "MEN", "simlex999": "SIMLEX"}


class WordVectors:
    """Holds words and their vectors, scaled to length 1, which makes a scalar product of two their cosine.

    Args:
        words: the texts of the words.
        vectors: the vectors of the words, `(words, size)`.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        self.words = list(words)
        self.ids = {word: index for index, word in enumerate(self.words)}
        # (words, size); the minimum keeps a zero vector from dividing by 0.
        self.unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> "WordVectors":
        """Takes the vectors of a model, except those of special tokens."""
        ids = tokenizer.get_vocab()
        words = sorted(ids.keys() - set(tokenizer.all_special_tokens), key=ids.__getitem__)
        # (vocabulary, size) -> (words, size)
        return cls(words, model.get_input_embeddings().weight.detach()[[ids[word] for word in words]].numpy())

    def __getitem__(self, word: str) -> np.ndarray:
        """Returns the vector of a word, `(size,)`, of length 1.

        Raises:
            UserError: If the word is unknown; the message suggests the known word spelled most like it.
        """
        index = self.ids.get(word.strip().lower())
        if index is None:
            known = f"{len(self.words):,} known words"
            raise UserError(f"'{word}' is not among the {known}{nearest(word, self.words)}")
        return self.unit[index]

    def similarity(self, one: str, other: str) -> float:
        """Returns the cosine of the vectors of two words."""
        return float(self[one] @ self[other])

    def nearest(self, vector: np.ndarray, count: int, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """Returns the `count` words with the largest cosine to `vector`, each with that cosine."""
        cosines = self.unit @ (vector / max(float(np.linalg.norm(vector)), 1e-9))  # (words,)
        cosines[[self.ids[word] for word in without]] = -np.inf  # sorted last and left out by `count`
        count = min(count, int(np.isfinite(cosines).sum()))
        order = np.argsort(-cosines, kind="stable")[:count]
        return [(self.words[index], float(cosines[index])) for index in order]

    def neighbors(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """Returns the words nearest to a word, each with its cosine."""
        return self.nearest(self[word], count, [word.strip().lower()])

    def analogy(self, one: str, other: str, third: str, count: int = 5) -> list[tuple[str, float]]:
        """Finds what is to `third` as `other` is to `one`: the words nearest to other - one + third.

        Source: Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations".
        """
        words = [word.strip().lower() for word in (one, other, third)]
        return self.nearest(self[other] - self[one] + self[third], count, words)


@dataclass(frozen=True)
class WordTests:
    """Holds the questions by which word vectors are measured.

    Attributes:
        kinds: the kind of each word, for `kind_precision`.
        judgments: the judgments of similarity in each collection, by its name.
        analogies: the analogy questions.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    judgments: Mapping[str, Sequence[Judgment]] = field(default_factory=dict)
    analogies: Sequence[Analogy] = ()

    def measure(self, vectors: WordVectors) -> dict[str, float]:
        """Computes kind precision, correlation with judgments, and analogy accuracy, each if it has a test.

        A correlation comes with the number of pairs used, and an accuracy with the number of questions used.
        """
        result: dict[str, float] = {}
        if self.kinds:
            result["kind_precision"] = kind_precision(vectors, self.kinds)
        for name, rows in self.judgments.items():
            result[name], result[f"{name}_pairs"] = similarity_correlation(vectors, rows)
        if self.analogies:
            accuracy, count = analogy_accuracy(vectors, self.analogies)
            result |= {"analogy_accuracy": accuracy, "analogy_questions": count}
        return result


def word_kinds() -> dict[str, str]:
    """Maps words of the world to their kinds, true by construction; words of several kinds are left out."""
    groups = {
        "person": [person.name.lower() for person in PEOPLE],
        "trade": [person.trade for person in PEOPLE],
        "place": [place.noun for place in PLACES],
        "thing": [thing.noun for thing in THINGS],
        "food": [food.noun for food in FOODS],
        "animal": ANIMALS,
        "quality": QUALITIES,
        "weather": WEATHERS,
        "time of day": TIMES,
        "relative": RELATIVES,
    }
    kinds: dict[str, list[str]] = {}
    for kind, words in groups.items():
        for word in words:
            kinds.setdefault(word, []).append(kind)
    return {word: names[0] for word, names in kinds.items() if len(names) == 1}


def trade_analogies() -> list[Analogy]:
    """Builds the world's analogies: one villager is to a trade as another villager is to another trade."""
    trades = [(person.name.lower(), person.trade) for person in PEOPLE]
    return [(*one, *other) for one in trades for other in trades if one is not other]


def read_judgments(folder: str) -> dict[str, list[Judgment]]:
    """Reads the judgments of each collection in `JUDGED` that the folder has.

    Raises:
        UserError: If there is no such folder, it has no known collection, or a file has another format.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"no folder '{folder}' with word pairs")
    judgments = {}
    for name, start in JUDGED.items():
        files = [file for file in sorted(path.iterdir()) if start in file.name.upper()]
        if files:
            judgments[name] = read_similarities(files[0])
    if not judgments:
        raise UserError(f"{folder} has no file named like {', '.join(JUDGED.values())}")
    return judgments


def read_similarities(path: Path) -> list[Judgment]:
    """Reads judgments from a file with two words and a number on each line.

    Raises:
        UserError: If a line has another format; the message gives its number.
    """
    judgments = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            one, other, score = line.split()
            judgments.append((one.lower(), other.lower(), float(score)))
        except ValueError:
            wanted = "two words and a number are expected"
            raise UserError(f"{path}, line {number}: {wanted}, found '{line[:40]}'") from None
    return judgments


def read_analogies(path: Path) -> list[Analogy]:
    """Reads questions from a file with four words on each line; a line with a leading colon names a section.

    Raises:
        UserError: If there is no such file or a line has another format; the message gives its number.
    """
    if not path.is_file():
        raise UserError(f"no file '{path}' with analogy questions")
    questions: list[Analogy] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.lower().split()
        if not words or line.startswith(":"):
            continue
        if len(words) != 4:
            raise UserError(f"{path}, line {number}: four words are expected, found '{line[:40]}'")
        questions.append(tuple(words))  # type: ignore[arg-type]
    return questions


def similarity_correlation(vectors: WordVectors, judgments: Sequence[Judgment]) -> tuple[float, int]:
    """Returns Spearman's rank correlation of cosines with human judgments, and the number of pairs used.

    Only pairs of two known words are used.
    """
    known = [(a, b, score) for a, b, score in judgments if a in vectors.ids and b in vectors.ids]
    if len(known) < 3:  # two pairs always correlate perfectly
        return float("nan"), len(known)
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(cosines, [score for *_, score in known]).statistic), len(known)


def analogy_accuracy(vectors: WordVectors, questions: Sequence[Analogy]) -> tuple[float, int]:
    """Returns the share of questions a : b = c : ? whose first answer is d, and the number of questions used.

    Only questions of four known words are used.
    """
    known = [question for question in questions if all(word in vectors.ids for word in question)]
    if not known:
        return float("nan"), 0
    rows = np.array([[vectors.ids[word] for word in question] for question in known])  # (questions, 4)
    right = 0
    # Batches of a few hundred questions bound the memory; transposed, (batch, 4) -> four arrays (batch,).
    for a, b, c, d in (batch.T for batch in np.array_split(rows, max(1, len(rows) // 256))):
        # The length of b - a + c does not change which cosine is largest.
        cosines = (vectors.unit[b] - vectors.unit[a] + vectors.unit[c]) @ vectors.unit.T  # (batch, words)
        # (batch, 1) and (batch, 3) -> (batch, 3): the question's own words are no answers.
        cosines[np.arange(len(a))[:, None], np.stack([a, b, c], 1)] = -np.inf
        right += int((cosines.argmax(1) == d).sum())
    return right / len(rows), len(rows)


def kind_precision(vectors: WordVectors, kinds: Mapping[str, str], count: int = 5) -> float:
    """Returns the share of a word's `count` nearest neighbors that are of its own kind, averaged over words.

    Only words whose kind is known can be neighbors.
    """
    words = [word for word in kinds if word in vectors.ids]
    unit = vectors.unit[[vectors.ids[word] for word in words]]  # (words, size)
    cosines = unit @ unit.T  # (words, words)
    np.fill_diagonal(cosines, -np.inf)  # a word is not its own neighbor
    labels = np.array([kinds[word] for word in words])
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :count]  # (words, count)
    # (words, count) == (words, 1) -> (words, count)
    return float((labels[near] == labels[:, None]).mean())


def ppmi_vectors(table: np.ndarray) -> np.ndarray:
    """Computes positive pointwise mutual information from counts: max(0, log(p(i, j) / (p(i) p(j)))).

    Skip-gram with negative sampling factorizes this table, shifted by a constant (Levy & Goldberg 2014).
    """
    total = table.sum()
    # (rows, 1) * (1, columns) -> (rows, columns): the counts if words met by chance.
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
    # A pair that never met gives log 0 = -inf, an empty row 0 / 0 = NaN; both become 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log(table / expected), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
