"""Learns word vectors in three ways, measures what they know, and compares them with a contextual encoder."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.manifold import TSNE
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, set_seed

from ...data.sources import Texts, load_texts
from ...errors import UserError
from ...models.configuration_word2vec import LLMPathWord2VecConfig
from ...models.modeling_word2vec import LLMPathWord2VecModel
from ...runs import Goal, Job, Run, add_mean
from ...training.hardware import precision_for
from . import EmbeddingsSettings
from .contextual_vectors import AMBIGUOUS, contextual_vectors, occurrences, pretrain_encoder, sense_accuracy
from .glove import Cooccurrences, GloVeRecipe, count_cooccurrences, train_glove
from .word2vec import Word2VecRecipe, Word2VecTraining
from .word_corpus import Vocabulary, WordCorpus
from .word_probes import (
    WordTests,
    WordVectors,
    kind_precision,
    ppmi_vectors,
    read_analogies,
    read_judgments,
    trade_analogies,
    word_kinds,
)

GLOVE_WINDOW = 10
COUNTED = 5000  # the most frequent words, whose co-occurrences make up the baseline's vectors
MAPPED_KINDS = ("person", "trade", "place", "thing", "food", "animal")
MAPPED = 150  # words on the map for texts other than the world's
SHOWN = ("kite", "baker", "harbour", "honey", "goat", "red", "rainy", "mara")  # shown with their neighbors
# What gensim's skip-gram reached on IMDB reviews with WikiText-2 (100 dimensions, window 5, 5 negatives,
# 3 epochs).
GENSIM = {"wordsim353": 0.478, "men": 0.474, "simlex999": 0.323}


def train(settings: EmbeddingsSettings, run: Run) -> None:
    """Fills `run` with the models, their measurements, and the data of the pictures."""
    if not settings.objectives:
        raise UserError("objectives is empty; give for example --set objectives=skipgram,glove")
    main_objective = settings.objectives[0]
    texts = load_texts(settings.dataset, "line", settings.text_column, stream=True)
    more = load_texts(settings.corpus, "line", stream=True) if settings.corpus else None
    is_world = settings.dataset in ("world", "world/stories")
    judgments = read_judgments(settings.similarity) if settings.similarity else {}
    analogies = read_analogies(Path(settings.analogies)) if settings.analogies else []
    tests = WordTests({}, judgments, analogies)
    if is_world:
        tests = WordTests(word_kinds(), judgments, trade_analogies())

    run.progress.say("counting words")
    vocabulary = Vocabulary.of(_all_texts(texts, more), settings.min_count)
    path = run.job("corpus").folder / "words.bin"
    corpus = WordCorpus.write(_all_texts(texts, more), vocabulary, path, settings.window)
    pairs = None
    if "glove" in settings.objectives or is_world:
        run.progress.say("counting co-occurrences")
        pairs = count_cooccurrences(corpus, GLOVE_WINDOW)
    tokenizer = vocabulary.tokenizer()
    # Padding and the unknown word do not count as vocabulary.
    metrics: dict[str, Any] = {"words": len(corpus), "vocabulary": len(vocabulary) - 2}
    baselines: dict[str, float] = {}

    def learn(job: Job, objective: str, seed: int) -> dict[str, float]:
        model, numbers = learn_vectors(settings, job, objective, corpus, pairs, seed)
        job.save_model(model, tokenizer)
        return numbers | tests.measure(WordVectors.of(model, tokenizer))

    for objective in settings.objectives:
        results = [
            # The default argument binds the current objective and seed to the function.
            run.once(f"{objective}-{seed}", lambda job, args=(objective, seed): learn(job, *args))
            for seed in range(settings.seed, settings.seed + settings.seeds)
        ]
        prefix = "" if objective == main_objective else f"{objective}/"
        for name in results[0]:
            add_mean(metrics, prefix + name, [result[name] for result in results])
        # A resumed run does not train again, so the model always comes from disk.
        model = AutoModel.from_pretrained(run.job(f"{objective}-{settings.seed}").model_dir)
        run.save_model(model, tokenizer, name=objective if prefix else None)
        if objective == main_objective:
            vectors = WordVectors.of(model, tokenizer)
            run.save_figure_data("map", map_words(vectors, settings.seed))
            run.save_figure_data("neighbors", neighbor_table(vectors))

    goals = []
    if is_world and pairs is not None:
        # The first two rows are padding and the unknown word: (vocabulary - 2, COUNTED).
        counts, words = count_vectors(pairs, len(vocabulary))[2:], vocabulary.words[2:]
        baselines["kind_precision"] = kind_precision(WordVectors(words, counts), tests.kinds)
        metrics["ppmi/kind_precision"] = kind_precision(WordVectors(words, ppmi_vectors(counts)), tests.kinds)
        goals.append(Goal("kind_precision", baselines["kind_precision"], higher_is_better=True))
    # The scores to reach are known only for this corpus and this objective.
    if main_objective == "skipgram" and {s.known for s in (texts, more) if s} == {"imdb", "wikitext-2"}:
        goals += [Goal(name, GENSIM[name], higher_is_better=True) for name in judgments]
    baselines |= dict.fromkeys(judgments, 0.0)  # random vectors do not correlate with judgments
    if settings.context_steps:
        steps, batch_size = settings.context_steps, settings.context_batch_size
        result = pretrain_encoder(
            run.job("contextual"), texts.train, texts.validation, steps, batch_size, settings.seed
        )
        metrics["contextual/perplexity"] = result["perplexity"]
        folder = run.job("contextual").model_dir
        encoder, subwords = (kind.from_pretrained(folder) for kind in (AutoModelForMaskedLM, AutoTokenizer))
        run.save_model(encoder, subwords, name="contextual")
        if is_world:
            senses = tell_senses_apart(encoder.model, subwords, texts)
            metrics["sense_accuracy"] = senses.pop("accuracy")
            # A static vector is the same in every sense; the best it can do is guess the commonest one.
            baselines["sense_accuracy"] = senses.pop("commonest")
            run.save_figure_data("senses", senses)
            goals.append(Goal("sense_accuracy", 0.95, higher_is_better=True))
    main = "kind_precision" if is_world else next(iter(judgments), "words_per_second")
    dataset = texts.provenance | ({"corpus": more.provenance} if more else {})
    run.report(dataset, metrics, baselines, goals, main=main)


def _all_texts(texts: Texts, more: Texts | None) -> Iterable[str]:
    """Chains the texts of both splits, since the vectors are not tested on unseen text."""
    return chain(texts.train, texts.validation, *((more.train, more.validation) if more else ()))


def learn_vectors(
    settings: EmbeddingsSettings,
    job: Job,
    objective: str,
    corpus: WordCorpus,
    pairs: Cooccurrences | None,
    seed: int,
) -> tuple[LLMPathWord2VecModel, dict[str, float]]:
    """Trains a model by one objective; returns the model and the measurements of its training."""
    set_seed(seed)
    model = LLMPathWord2VecModel(
        LLMPathWord2VecConfig(
            vocab_size=len(corpus.vocabulary), hidden_size=settings.hidden_size, objective=objective
        )
    )
    if objective == "glove":
        assert pairs is not None  # `train` counts pairs if GloVe is among the objectives
        rate = settings.glove_learning_rate
        recipe = GloVeRecipe(settings.glove_epochs, GLOVE_WINDOW, rate, rate_setting="glove_learning_rate")
        numbers = train_glove(model, pairs, recipe, job, seed)
    else:
        by_sgd = objective == "skipgram" and settings.sgd_learning_rate is not None
        how = Word2VecRecipe(
            epochs=settings.epochs,
            window=settings.window,
            negatives=settings.negatives,
            learning_rate=settings.sgd_learning_rate if by_sgd else settings.learning_rate,
            optimizer="sgd" if by_sgd else "adagrad",
            subsample=settings.subsample,
            precision=precision_for(settings.precision),
            rate_setting="sgd_learning_rate" if by_sgd else "learning_rate",
        )
        numbers = Word2VecTraining(model, corpus, how, seed).run(job)
    return model, {
        "training_seconds": numbers.pop("seconds"),
        "parameters": model.num_parameters(),
        **numbers,
    }


def count_vectors(pairs: Cooccurrences, vocab_size: int) -> np.ndarray:
    """Counts how often each word occurs together with each of the most frequent words, for the baseline.

    Returns:
        The counts, `(vocab_size, COUNTED)`, with fewer columns for a smaller vocabulary.
    """
    frequent = pairs.contexts < COUNTED  # (pairs,); the most frequent words have the smallest ids
    counts = np.zeros((vocab_size, min(vocab_size, COUNTED)), dtype=np.float32)
    counts[pairs.words[frequent], pairs.contexts[frequent]] = pairs.counts[frequent]
    return counts


def map_words(vectors: WordVectors, seed: int) -> dict[str, Any]:
    """Places words in the plane by PCA and by t-SNE (van der Maaten & Hinton 2008).

    The words are those of the world whose kind is known or, for another text, frequent ones.
    """
    kinds = {
        word: kind for word, kind in word_kinds().items() if kind in MAPPED_KINDS and word in vectors.ids
    }
    if len(kinds) < 30:  # not a text of the world: skip the 50 most frequent words, mostly function words
        kinds = {word: "" for word in vectors.words[50 : 50 + MAPPED] or vectors.words[:MAPPED]}
    words = list(kinds)
    unit = vectors.unit[[vectors.ids[word] for word in words]]  # (words, size)
    maps = {"PCA": principal_components(unit)}
    if len(words) > 10:
        perplexity = min(30.0, len(words) / 4)  # it must be less than the number of points
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, metric="cosine")
        maps["t-SNE"] = tsne.fit_transform(unit)  # (words, 2)
    # The first pair of each analogy is a villager and the trade.
    trades = dict(analogy[:2] for analogy in trade_analogies())
    return {
        "words": words,
        "kinds": list(kinds.values()),
        "maps": {name: points.round(4).tolist() for name, points in maps.items()},
        "analogy": [[person, trade] for person, trade in trades.items() if {person, trade} <= {*words}],
    }


def principal_components(vectors: np.ndarray) -> np.ndarray:
    """Projects vectors onto the plane in which they differ most: `(n, 2)`."""
    centered = vectors - vectors.mean(0)  # (n, size)
    # (n, size) @ (size, 2) -> (n, 2): the first two right singular vectors span the plane.
    return centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T


def neighbor_table(vectors: WordVectors) -> dict[str, list[tuple[str, float]]]:
    """Returns the nearest words of some words, each with its cosine."""
    shown = [word for word in SHOWN if word in vectors.ids] or vectors.words[20:26]
    return {word: [(near, round(cosine, 4)) for near, cosine in vectors.neighbors(word, 5)] for word in shown}


def tell_senses_apart(encoder: Any, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    """Places the occurrences of an ambiguous word in the plane and tests whether vectors tell senses apart.

    Returns:
        A dictionary with `word`; `points`, `senses`, and `texts` of its occurrences; the `accuracy` of the
        vectors; and `commonest`, the accuracy of always naming the commonest sense.
    """
    examples = occurrences(texts.validation)
    senses, sentences = [o.sense for o in examples], [o.text for o in examples]
    # (occurrences, hidden_size)
    vectors = contextual_vectors(encoder, tokenizer, sentences, [(o.start, o.end) for o in examples])
    return {
        "word": AMBIGUOUS,
        "points": principal_components(vectors).round(4).tolist(),
        "senses": senses,
        "texts": sentences,
        "accuracy": sense_accuracy(vectors, senses),
        "commonest": max(map(senses.count, set(senses))) / len(senses),
    }
