"""Compares skip-gram with gensim's in one run (same text, sizes, epochs): words per second and agreement
with people.

Run it on a quiet machine, with gensim installed:

    python tests/benchmarks/bench_word2vec.py FOLDER [EPOCHS]

FOLDER has the data sets imdb and wikitext-2-v1 (parquet) and word_similarity. gensim trains with two
workers on texts that are split into words already; ours on the encoded file, with two threads. Neither
time includes counting and encoding.
"""

import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import torch
from gensim.models import Word2Vec

from hf_llmpath import LLMPathWord2VecConfig, LLMPathWord2VecModel
from hf_llmpath.data.sources import open_table_file
from hf_llmpath.runs import Job
from hf_llmpath.stages.s12_embeddings.word2vec import Word2VecRecipe, Word2VecTraining
from hf_llmpath.stages.s12_embeddings.word_corpus import Vocabulary, WordCorpus, words_of
from hf_llmpath.stages.s12_embeddings.word_probes import (
    WordVectors,
    read_similarities,
    similarity_correlation,
)
from hf_llmpath.training.hardware import precision_for

SIZE, WINDOW, NEGATIVES, MIN_COUNT, SUBSAMPLE = 100, 5, 5, 5, 1e-3
SGD_RATE = 0.03  # the full preset's, of skip-gram
PAIRS = {"WordSim-353": "EN-WS-353-ALL.txt", "MEN": "EN-MEN-TR-3k.txt", "SimLex-999": "EN-SIMLEX-999.txt"}


def texts(folder: Path) -> list[str]:
    files = [folder / "imdb" / f"{split}.parquet" for split in ("train", "test")]
    files += [folder / "wikitext-2-v1" / f"{split}.parquet" for split in ("train", "validation", "test")]
    return [
        text for text in chain.from_iterable(open_table_file(file)["text"] for file in files) if text.strip()
    ]


def tell(name: str, speed: float, vectors: WordVectors, folder: Path) -> None:
    found = {
        title: similarity_correlation(vectors, read_similarities(folder / "word_similarity" / file))[0]
        for title, file in PAIRS.items()
    }
    scores = "  ".join(f"{title} {value:.3f}" for title, value in found.items())
    print(f"{name:22} {speed / 1e3:8,.0f}k words/s  {scores}", flush=True)


def main(folder: Path, epochs: int) -> None:
    rows = texts(folder)
    vocabulary = Vocabulary.of(rows, MIN_COUNT)
    speeds = {}
    for objective in ("skipgram", "cbow"):
        with tempfile.TemporaryDirectory() as temporary:
            corpus = WordCorpus.write(rows, vocabulary, Path(temporary) / "ids.bin", WINDOW)
            config = LLMPathWord2VecConfig(vocab_size=len(vocabulary), hidden_size=SIZE, objective=objective)
            torch.manual_seed(0)
            model = LLMPathWord2VecModel(config)
            how = {"optimizer": "sgd", "learning_rate": SGD_RATE} if objective == "skipgram" else {}
            precision = precision_for("auto")
            recipe = Word2VecRecipe(
                epochs, WINDOW, NEGATIVES, subsample=SUBSAMPLE, precision=precision, **how
            )
            job = Job(Path(temporary) / objective, objective)
            speeds[objective] = Word2VecTraining(model, corpus, recipe, seed=0).run(job)["words_per_second"]
        vectors = WordVectors(vocabulary.words[2:], model.embed_tokens.weight.detach()[2:].numpy())
        tell(f"ours, {objective}", speeds[objective], vectors, folder)
    split = [words_of(row) for row in rows]
    total = sum(map(len, split))
    for objective in ("skipgram", "cbow"):
        options = {
            "vector_size": SIZE,
            "window": WINDOW,
            "negative": NEGATIVES,
            "min_count": MIN_COUNT,
            "workers": 2,
        }
        theirs = Word2Vec(sg=int(objective == "skipgram"), sample=SUBSAMPLE, seed=0, **options)
        theirs.build_vocab(split)
        began = time.perf_counter()
        theirs.train(split, total_examples=len(split), epochs=epochs)
        speed = epochs * total / (time.perf_counter() - began)
        tell(f"gensim, {objective}", speed, WordVectors(theirs.wv.index_to_key, theirs.wv.vectors), folder)
        print(f"{objective}: ours / gensim = {speeds[objective] / speed:.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
