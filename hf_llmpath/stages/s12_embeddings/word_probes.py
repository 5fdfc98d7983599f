"""What word vectors know: neighbors, analogies, people's judgments of similarity, and kinds of words."""

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

# Metric -> start of the file name that Hugging Face's and gensim's collections give the word pairs.
JUDGED = {"wordsim353": "WS-353-ALL", "men": "MEN", "simlex999": "SIMLEX"}


class WordVectors:
    """Words and their vectors scaled to length one: a scalar product of two of them is the cosine.

    Args:
        words: their texts.
        vectors: `(words, size)`.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray):
        self.words = list(words)
        self.ids = {word: index for index, word in enumerate(self.words)}
        self.unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> "WordVectors":
        """The vectors of a model, those of special tokens left out."""
        ids = tokenizer.get_vocab()
        words = sorted(ids.keys() - set(tokenizer.all_special_tokens), key=ids.__getitem__)
        return cls(words, model.get_input_embeddings().weight.detach()[[ids[word] for word in words]].numpy())

    def __getitem__(self, word: str) -> np.ndarray:
        """`(size,)`, of length one.

        Raises:
            UserError: an unknown word; the message names the known word with the most similar spelling.
        """
        index = self.ids.get(word.strip().lower())
        if index is None:
            known = f"{len(self.words):,} known words"
            raise UserError(f"'{word}' is not among the {known}{nearest(word, self.words)}")
        return self.unit[index]

    def similarity(self, one: str, other: str) -> float:
        """The cosine of two words."""
        return float(self[one] @ self[other])

    def nearest(self, vector: np.ndarray, count: int, without: Iterable[str] = ()) -> list[tuple[str, float]]:
        """The `count` words whose vectors have the largest cosine with `vector`, and that cosine."""
        cosines = self.unit @ (vector / max(float(np.linalg.norm(vector)), 1e-9))
        cosines[[self.ids[word] for word in without]] = -np.inf
        count = min(count, int(np.isfinite(cosines).sum()))
        order = np.argsort(-cosines, kind="stable")[:count]
        return [(self.words[index], float(cosines[index])) for index in order]

    def neighbors(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words nearest to a word."""
        return self.nearest(self[word], count, [word.strip().lower()])

    def analogy(self, one: str, other: str, third: str, count: int = 5) -> list[tuple[str, float]]:
        """What is to `third` as `other` is to `one`: the words nearest to other - one + third.

        Source: Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations".
        """
        words = [word.strip().lower() for word in (one, other, third)]
        return self.nearest(self[other] - self[one] + self[third], count, words)


@dataclass(frozen=True)
class WordTests:
    """The questions that word vectors are measured by.

    Attributes:
        kinds: word -> kind, for `kind_precision`.
        judgments: name of a collection -> its judgments of similarity.
        analogies: questions.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    judgments: Mapping[str, Sequence[Judgment]] = field(default_factory=dict)
    analogies: Sequence[Analogy] = ()

    def measure(self, vectors: WordVectors) -> dict[str, float]:
        """`kind_precision`, the correlation with each collection, `analogy_accuracy`; what was asked for."""
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
    """Word of the world -> its kind, true by construction; words of several kinds are left out."""
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
    """Analogies of the world: one villager is to a trade as another villager is to another trade."""
    trades = [(person.name.lower(), person.trade) for person in PEOPLE]
    return [(*one, *other) for one in trades for other in trades if one is not other]


def read_judgments(folder: str) -> dict[str, list[Judgment]]:
    """The judgments of each collection in `JUDGED` that the folder has.

    Raises:
        UserError: no such folder, no known collection in it, or a file of another form.
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
    """Judgments from a file with a word, a word, and a number in each line.

    Raises:
        UserError: a line has another form; the message names it.
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
    """Questions from a file with four words in each line; a line that begins with a colon names a section.

    Raises:
        UserError: no such file, or a line has another form; the message names it.
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
    """Spearman's rank correlation of cosines with people's judgments, and the number of pairs that count:
    those of two known words."""
    known = [(a, b, score) for a, b, score in judgments if a in vectors.ids and b in vectors.ids]
    if len(known) < 3:
        return float("nan"), len(known)
    cosines = [vectors.similarity(a, b) for a, b, _ in known]
    return float(spearmanr(cosines, [score for *_, score in known]).statistic), len(known)


def analogy_accuracy(vectors: WordVectors, questions: Sequence[Analogy]) -> tuple[float, int]:
    """Share of the questions a : b = c : ? whose first answer is d, and the number of questions that count:
    those of known words."""
    known = [question for question in questions if all(word in vectors.ids for word in question)]
    if not known:
        return float("nan"), 0
    rows = np.array([[vectors.ids[word] for word in question] for question in known])  # (questions, 4)
    right = 0
    for a, b, c, d in (batch.T for batch in np.array_split(rows, max(1, len(rows) // 256))):
        cosines = (vectors.unit[b] - vectors.unit[a] + vectors.unit[c]) @ vectors.unit.T  # (batch, words)
        cosines[np.arange(len(a))[:, None], np.stack([a, b, c], 1)] = -np.inf
        right += int((cosines.argmax(1) == d).sum())
    return right / len(rows), len(rows)


def kind_precision(vectors: WordVectors, kinds: Mapping[str, str], count: int = 5) -> float:
    """The share of a word's `count` nearest neighbors that are of its own kind, as a mean over words.

    Neighbors are taken from the words whose kind is known.
    """
    words = [word for word in kinds if word in vectors.ids]
    unit = vectors.unit[[vectors.ids[word] for word in words]]
    cosines = unit @ unit.T  # (words, words)
    np.fill_diagonal(cosines, -np.inf)
    labels = np.array([kinds[word] for word in words])
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return float((labels[near] == labels[:, None]).mean())


def ppmi_vectors(table: np.ndarray) -> np.ndarray:
    """Positive pointwise mutual information of a table of counts: max(0, log p(i, j) / (p(i) p(j))).

    Skip-gram with negative sampling factorizes this table, shifted by a constant (Levy & Goldberg 2014).
    """
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.log(table / expected), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
