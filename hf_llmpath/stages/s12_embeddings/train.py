"""Learns word vectors in several ways, measures what they know, and sets a contextual encoder beside them."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.manifold import TSNE
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast, set_seed

from ...data.sources import Texts, load_texts
from ...errors import UserError
from ...models.configuration_word2vec import LLMPathWord2VecConfig
from ...models.modeling_word2vec import LLMPathWord2VecModel
from ...runs import Goal, Run, add_mean
from ...training.precision import precision_for
from ...training.recipes.masked_language_model import MaskedTexts, pretrain, small_encoder
from ...training.trainer import Recipe
from ...world.vocabulary import PEOPLE
from . import EmbeddingsSettings
from .glove import Cooccurrences, GloVeRecipe, count_cooccurrences, train_glove
from .word2vec import Word2VecRecipe, Word2VecTraining
from .word_corpus import Vocabulary, WordCorpus
from .word_kinds import AMBIGUOUS, occurrences, word_kinds
from .word_probes import (
    WordVectors,
    analogy_accuracy,
    contextual_vectors,
    count_vectors,
    kind_precision,
    ppmi_vectors,
    read_analogies,
    read_similarities,
    sense_accuracy,
    similarity_correlation,
)

CONTEXT = 48  # tokens that the contextual encoder reads
GLOVE_WINDOW = 10
COUNTED = 5000  # most frequent words for which the baseline counts who stands beside whom
DRAWN = ("person", "trade", "place", "thing", "food", "animal")  # kinds of words on the map
MOST_DRAWN = 150  # words on the map of another text
ASKED = ("kite", "baker", "harbour", "honey", "goat", "red", "rainy", "mara")
# Name of the metric -> beginning of the file name that Hugging Face's and gensim's collections give the
# word pairs, and what gensim's skip-gram reached on IMDB reviews with WikiText-2 (100 dimensions, window
# 5, 5 negatives, 3 epochs).
JUDGED = {"wordsim353": ("WS-353-ALL", 0.478), "men": ("MEN", 0.474), "simlex999": ("SIMLEX", 0.323)}


def train(settings: EmbeddingsSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers, and what the pictures are drawn from."""
    if not settings.objectives:
        raise UserError("objectives is empty; give for example --set objectives=skipgram,glove")
    texts = load_texts(settings.dataset, "line", settings.text_column, stream=True)
    more = load_texts(settings.corpus, "line", stream=True) if settings.corpus else None
    judged = _judgments(settings.similarity)
    questions = read_analogies(Path(settings.analogies)) if settings.analogies else []
    is_world = settings.dataset in ("world", "world/stories")

    run.progress.say("counting words")
    vocabulary = Vocabulary.of(_all(texts, more), settings.min_count)
    path = run.job("corpus").folder / "words.bin"
    corpus = WordCorpus.write(_all(texts, more), vocabulary, path, settings.window)
    tokenizer = vocabulary.tokenizer()
    metrics: dict[str, Any] = {"words": len(corpus), "vocabulary": len(vocabulary) - 2}
    baselines: dict[str, float] = {}
    pairs = _pairs(run, corpus) if "glove" in settings.objectives or is_world else None

    for objective in settings.objectives:
        results = [
            _vectors(settings, run, corpus, pairs, tokenizer, judged, questions, is_world, objective, seed)
            for seed in range(settings.seed, settings.seed + settings.seeds)
        ]
        prefix = "" if objective == settings.objectives[0] else f"{objective}/"
        for name in results[0]:
            add_mean(metrics, prefix + name, [result[name] for result in results])
        model = AutoModel.from_pretrained(run.job(f"{objective}-{settings.seed}").model_dir)
        run.save_model(model, tokenizer, name=None if not prefix else objective)
        if not prefix:
            vectors = WordVectors.of(model, tokenizer)
            run.save_figure_data("map", word_map(vectors, settings.seed))
            run.save_figure_data("neighbors", neighbor_table(vectors))

    goals = []
    if is_world and pairs is not None:
        table, words = count_table(pairs, len(vocabulary))[2:], vocabulary.words[2:]
        baselines["kind_precision"] = kind_precision(WordVectors(words, table), word_kinds())
        metrics["ppmi/kind_precision"] = kind_precision(WordVectors(words, ppmi_vectors(table)), word_kinds())
        goals.append(Goal("kind_precision", baselines["kind_precision"], higher_is_better=True))
    if judged and _is_measured_corpus(texts, more) and settings.objectives[0] == "skipgram":
        goals += [Goal(name, JUDGED[name][1], higher_is_better=True) for name in judged]
    baselines |= {name: 0.0 for name in judged}  # vectors that know nothing agree with nobody
    if settings.context_steps:
        goals += _contextual(settings, run, texts, metrics, baselines, is_world)
    main = "kind_precision" if is_world else next(iter(judged), "words_per_second")
    dataset = texts.provenance | ({"corpus": more.provenance} if more else {})
    run.report(dataset, metrics, baselines, goals, main=main)


def _all(texts: Texts, more: Texts | None) -> Any:
    """Every text of both splits: nothing is predicted from these vectors that could have been read before."""
    return chain(texts.train, texts.validation, *((more.train, more.validation) if more else ()))


def _is_measured_corpus(texts: Texts, more: Texts | None) -> bool:
    return {source.known for source in (texts, more) if source} == {"imdb", "wikitext-2"}


def _judgments(folder: str | None) -> dict[str, list[tuple[str, str, float]]]:
    """The word pairs of each known collection in the folder."""
    if folder is None:
        return {}
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"no folder '{folder}' with word pairs")
    files = sorted(path.iterdir())
    found = {
        name: read_similarities(file)
        for name, (begins, _) in JUDGED.items()
        for file in [next((file for file in files if begins in file.name.upper()), None)]
        if file is not None
    }
    if not found:
        raise UserError(
            f"{folder} has no file named like {', '.join(begins for begins, _ in JUDGED.values())}"
        )
    return found


def _pairs(run: Run, corpus: WordCorpus) -> Cooccurrences:
    run.progress.say("counting who meets whom")
    return count_cooccurrences(corpus, GLOVE_WINDOW)


def count_table(pairs: Cooccurrences, size: int) -> np.ndarray:
    """The baseline's vectors: how often a word met each of the most frequent ones."""
    near = pairs.contexts < COUNTED
    return count_vectors(
        pairs.words[near], pairs.contexts[near], pairs.counts[near], size, min(size, COUNTED)
    )


def _vectors(
    settings: EmbeddingsSettings,
    run: Run,
    corpus: WordCorpus,
    pairs: Cooccurrences | None,
    tokenizer: PreTrainedTokenizerFast,
    judged: dict[str, list[tuple[str, str, float]]],
    questions: list[tuple[str, str, str, str]],
    is_world: bool,
    objective: str,
    seed: int,
) -> dict[str, float]:
    """One training, and what its vectors know."""
    job = run.job(f"{objective}-{seed}")
    if job.done:
        return job.result
    set_seed(seed)
    config = LLMPathWord2VecConfig(
        vocab_size=len(corpus.vocabulary), hidden_size=settings.hidden_size, objective=objective
    )
    model = LLMPathWord2VecModel(config)
    if objective == "glove":
        assert pairs is not None
        recipe = GloVeRecipe(settings.glove_epochs, GLOVE_WINDOW, settings.glove_learning_rate)
        with run.progress.task(job.name, recipe.epochs * len(pairs)) as progress:
            fit = train_glove(model, pairs, recipe, seed, progress)
    else:
        options = ("epochs", "window", "negatives", "learning_rate", "subsample")
        chosen = {name: getattr(settings, name) for name in options}
        if objective == "skipgram" and settings.sgd_learning_rate is not None:
            chosen |= {"optimizer": "sgd", "learning_rate": settings.sgd_learning_rate}
        how = Word2VecRecipe(**chosen, precision=precision_for(settings.precision))
        training = Word2VecTraining(model, corpus, how, seed)
        with run.progress.task(job.name, settings.epochs * len(corpus)) as progress:
            fit = training.run(progress)
    vectors = WordVectors(corpus.vocabulary.words[2:], model.embed_tokens.weight.detach()[2:].numpy())
    result = {"training_seconds": fit.pop("seconds"), "parameters": model.num_parameters(), **fit}
    if is_world:
        result["kind_precision"] = kind_precision(vectors, word_kinds())
        questions = trades()
    for name, rows in judged.items():
        result[name], result[f"{name}_pairs"] = similarity_correlation(vectors, rows)
    if questions:
        result["analogy_accuracy"], result["analogy_questions"] = analogy_accuracy(vectors, questions)
    return job.finish(result, model, tokenizer)


def trades() -> list[tuple[str, str, str, str]]:
    """Questions about the world: one villager is to the trade as another is to the trade of that one."""
    known = [(person.name.lower(), person.trade) for person in PEOPLE]
    return [(*one, *other) for one in known for other in known if one is not other]


def word_map(vectors: WordVectors, seed: int) -> dict[str, Any]:
    """Words in the plane, by PCA and by t-SNE (van der Maaten & Hinton 2008): those of the world whose
    kind is known, or the most frequent ones."""
    kinds = {word: kind for word, kind in word_kinds().items() if kind in DRAWN and word in vectors.ids}
    if len(kinds) < 30:
        kinds = {word: "" for word in vectors.words[50 : 50 + MOST_DRAWN] or vectors.words[:MOST_DRAWN]}
    words = list(kinds)
    chosen = vectors.unit[[vectors.ids[word] for word in words]]
    maps = {"PCA": main_directions(chosen)}
    if len(words) > 10:
        perplexity = min(30.0, len(words) / 4)
        maps["t-SNE"] = TSNE(
            perplexity=perplexity, init="pca", random_state=seed, metric="cosine"
        ).fit_transform(chosen)
    return {
        "words": words,
        "kinds": list(kinds.values()),
        "maps": {name: points.round(4).tolist() for name, points in maps.items()},
        "analogy": [
            [one, other] for one, other, *_ in trades()[:: len(PEOPLE) - 1] if {one, other} <= {*words}
        ],
    }


def main_directions(vectors: np.ndarray) -> np.ndarray:
    """`(n, 2)`: the vectors in the plane in which they differ most (principal component analysis)."""
    centered = vectors - vectors.mean(0)
    return centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T


def neighbor_table(vectors: WordVectors) -> dict[str, list[tuple[str, float]]]:
    """The nearest words of some words."""
    asked = [word for word in ASKED if word in vectors.ids] or vectors.words[20:26]
    return {word: [(near, round(cosine, 4)) for near, cosine in vectors.neighbors(word, 5)] for word in asked}


def _contextual(
    settings: EmbeddingsSettings,
    run: Run,
    texts: Texts,
    metrics: dict[str, Any],
    baselines: dict[str, float],
    is_world: bool,
) -> list[Goal]:
    """Trains a small encoder on the same text, whose vectors depend on the context; can they tell the
    senses of a word?
    """
    job = run.job("contextual")
    if not job.done:
        run.progress.say("training the tokenizer of the encoder")
        masked = MaskedTexts.from_texts(
            sentences(texts.train),
            sentences(texts.validation)[:500],
            vocab_size=1000,
            context=CONTEXT,
            mask_rate=0.2,
        )
        config = small_encoder(masked.tokenizer, CONTEXT, hidden_size=64, intermediate_size=128)
        recipe = Recipe(
            settings.context_steps, settings.context_batch_size, 8e-3, weight_decay=0.01, adam_beta2=0.98
        )
        pretrain(masked, config, recipe, job, settings.seed)
    model, tokenizer = (kind.from_pretrained(job.model_dir) for kind in (AutoModelForMaskedLM, AutoTokenizer))
    run.save_model(model, tokenizer, name="contextual")
    metrics["contextual/perplexity"] = job.result["perplexity"]
    if not is_world:
        return []
    found = occurrences(texts.validation)
    vectors = contextual_vectors(
        model.model, tokenizer, [o.text for o in found], [(o.start, o.end) for o in found]
    )
    senses = [occurrence.sense for occurrence in found]
    metrics["sense_accuracy"] = sense_accuracy(vectors, senses)
    baselines["sense_accuracy"] = max(map(senses.count, set(senses))) / len(
        senses
    )  # one vector for all senses
    run.save_figure_data("senses", _plane(vectors, found))
    return [Goal("sense_accuracy", 0.95, higher_is_better=True)]


def sentences(texts: Sequence[str], most: int = 20_000) -> list[str]:
    """The lines of texts, cut to what an encoder of `CONTEXT` tokens may read, at most `most` of them."""
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [line for line, _ in zip((line for line in lines if line), range(most), strict=False)]


def _plane(vectors: np.ndarray, found: list[Any]) -> dict[str, Any]:
    """The occurrences in the plane of their two main directions."""
    return {
        "word": AMBIGUOUS,
        "points": main_directions(vectors).round(4).tolist(),
        "senses": [occurrence.sense for occurrence in found],
        "texts": [occurrence.text for occurrence in found],
    }
