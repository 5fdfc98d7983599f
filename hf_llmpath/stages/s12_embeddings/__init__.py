"""Stage 12: words that keep the same company get similar vectors, and a context changes a word's vector."""

from dataclasses import dataclass
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class EmbeddingsSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    corpus: str | None = setting(None, "more text: embedded name, Hub id, local file or folder")
    objectives: tuple[Literal["skipgram", "cbow", "glove"], ...] = setting(
        ("skipgram", "cbow", "glove"), "how vectors are learned; the first one gives the model of the stage"
    )
    hidden_size: int = setting(64, "width of a word vector", minimum=1)
    min_count: int = setting(2, "occurrences that a word needs to get a vector", minimum=1)
    window: int = setting(5, "words to each side that count as neighbors", minimum=1)
    negatives: int = setting(5, "random words for each pair of neighbors", minimum=1)
    epochs: int = setting(5, "passes of skip-gram and CBOW over the text", minimum=1)
    learning_rate: float = setting(0.3, "initial learning rate of skip-gram and CBOW by Adagrad", minimum=0)
    sgd_learning_rate: float | None = setting(
        None,
        "learning rate of skip-gram by plain gradient descent, better for millions of words; none: Adagrad",
        minimum=0,
    )
    subsample: float = setting(
        1e-3, "share of the text above which occurrences of a word are skipped at random", minimum=1e-8
    )
    precision: Literal["auto", "no", "bf16"] = setting(
        "no", "bf16: matrix products in 16 bits; auto: only where this machine is faster in 16 bits"
    )
    glove_epochs: int = setting(10, "passes of GloVe over the pairs of words that occur together", minimum=1)
    glove_learning_rate: float = setting(0.1, "learning rate of GloVe by Adagrad", minimum=0)
    similarity: str | None = setting(
        None, "folder with people's judgments of word pairs: WordSim-353, MEN, SimLex-999"
    )
    analogies: str | None = setting(
        None, "file of analogy questions, four words a line, such as word2vec's questions-words.txt"
    )
    context_steps: int = setting(
        300, "optimizer steps of the contextual encoder; 0 trains no encoder", minimum=0
    )
    context_batch_size: int = setting(64, "texts per optimizer step of the contextual encoder", minimum=1)
    seeds: int = setting(1, "number of seeds, over which the numbers of the vectors are averaged", minimum=1)

    @classmethod
    def full(cls) -> "EmbeddingsSettings":
        return cls(
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
    summary="Words that keep the same company get vectors that point the same way; a context bends them.",
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
        Concept(
            "contextual embeddings", "hf_llmpath.stages.s12_embeddings.contextual_vectors.contextual_vectors"
        ),
    ),
    settings=EmbeddingsSettings,
    package=__name__,
)
