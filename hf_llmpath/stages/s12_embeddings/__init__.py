"""Stage 12: words become vectors. What stands near each other means something alike, and a context
changes what a word is.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class EmbeddingsSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    corpus: str | None = setting(None, "more text: embedded name, Hub id, local file or folder")
    objectives: tuple[Literal["skipgram", "cbow", "glove"], ...] = setting(
        ("skipgram", "cbow", "glove"), "what the vectors learn; the first one is the model of the stage"
    )
    hidden_size: int = setting(64, "width of a word vector", minimum=1)
    min_count: int = setting(2, "words that occur less often are left out", minimum=1)
    window: int = setting(5, "words to each side that count as neighbors", minimum=1)
    negatives: int = setting(5, "random words for each pair of neighbors", minimum=1)
    epochs: int = setting(5, "passes of skip-gram and CBOW over the text", minimum=1)
    learning_rate: float = setting(
        0.3, "step size of Adagrad for skip-gram and CBOW at the beginning", minimum=0
    )
    sgd_learning_rate: float | None = setting(
        None,
        "skip-gram by plain gradient descent of this step size instead, which is better for millions of words",
        minimum=0,
    )
    subsample: float = setting(
        1e-3, "share of the text above which a word is skipped now and then", minimum=1e-8
    )
    precision: Literal["auto", "no", "bf16"] = setting(
        "no",
        "bf16: matrix products in 16 bits, vectors and updates in 32; auto: where this machine is faster so",
    )
    glove_epochs: int = setting(10, "passes of GloVe over the pairs of words that meet", minimum=1)
    glove_learning_rate: float = setting(0.1, "step size of Adagrad for GloVe", minimum=0)
    similarity: str | None = setting(
        None,
        "folder of word pairs with people's judgments: WordSim-353, MEN, SimLex-999 (lines of word, word, number)",
    )
    analogies: str | None = setting(
        None, "file of analogy questions, four words a line, as word2vec's questions-words.txt"
    )
    context_steps: int = setting(
        300, "optimizer steps of the encoder that gives words a vector in context", minimum=0
    )
    context_batch_size: int = setting(64, "texts per step of that encoder", minimum=1)
    seeds: int = setting(1, "seeds that the vectors are trained with; numbers are their means", minimum=1)

    @classmethod
    def full(cls) -> "EmbeddingsSettings":
        return replace(
            cls(),
            hidden_size=100,
            min_count=5,
            epochs=3,
            precision="auto",
            sgd_learning_rate=0.03,
            seeds=3,
            glove_epochs=5,
        )


STAGE = Stage(
    number=12,
    slug="embeddings",
    title="Embeddings",
    phase="Building and using LLMs",
    summary="Words that keep the same company get vectors that point the same way; a context then bends them.",
    model_type="llmpath-word2vec",
    auto_class="AutoModel",
    main="kind_precision",
    concepts=(
        Concept("Word2Vec: skip-gram", "hf_llmpath.stages.s12_embeddings.word2vec.Gradients"),
        Concept("Word2Vec: CBOW", "hf_llmpath.models.modeling_word2vec.LLMPathWord2VecModel"),
        Concept("negative sampling", "hf_llmpath.models.modeling_word2vec.negative_sampling_loss"),
        Concept(
            "subsampling of frequent words", "hf_llmpath.stages.s12_embeddings.word_corpus.WordCorpus.pieces"
        ),
        Concept("co-occurrence", "hf_llmpath.stages.s12_embeddings.glove.count_cooccurrences"),
        Concept("GloVe", "hf_llmpath.models.modeling_word2vec.glove_loss"),
        Concept("cosine similarity", "hf_llmpath.stages.s12_embeddings.word_probes.WordVectors.similarity"),
        Concept("analogy", "hf_llmpath.stages.s12_embeddings.word_probes.WordVectors.analogy"),
        Concept("contextual embeddings", "hf_llmpath.stages.s12_embeddings.word_probes.contextual_vectors"),
    ),
    settings=EmbeddingsSettings,
    package=__name__,
)
