"""Stage 13: a pretrained encoder becomes a reader that answers questions, with what keeps its training in
hand.
"""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class FineTuningSettings(Settings):
    dataset: str = setting(
        "world/questions", "SQuAD-like questions: embedded name, Hub id, or local file or folder"
    )
    questions: int | None = setting(
        None,
        "most questions to learn from; of the world's any number (10,000 if none), else all if none",
        minimum=2,
    )
    context_column: str | None = setting(None, "column that holds the texts that are asked about")
    question_column: str | None = setting(None, "column that holds the questions")
    answers_column: str | None = setting(None, "column that holds the answers (text and answer_start)")
    model: str | None = setting(
        None, "BERT to fine-tune: local folder or Hub id; none: a small one is pretrained here"
    )
    comparisons: tuple[str, ...] = setting(
        ("early-stopping", "clipping"),
        "what is measured against not doing it; also freezing, layer-wise, lora, lora-reviews",
    )
    hidden_size: int = setting(64, "width of the encoder", minimum=4)
    num_hidden_layers: int = setting(4, "layers of the encoder", minimum=1)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    intermediate_size: int = setting(128, "width of the feed-forward part of a layer", minimum=1)
    initializer_range: float = setting(0.16, "standard deviation of the first weights", minimum=0)
    vocab_size: int = setting(1000, "most tokens of the tokenizer", minimum=50)
    max_length: int = setting(128, "most tokens of a window, question included", minimum=16)
    stride: int | None = setting(
        None, "tokens that two windows share; a quarter of a window if none", minimum=0
    )
    pretraining_steps: int = setting(200, "optimizer steps of the masked language modeling", minimum=1)
    pretraining_learning_rate: float | None = setting(
        None, "peak of its cosine schedule, of AdamW; if none, by Muon as the fine-tuning", minimum=0
    )
    max_steps: int = setting(500, "optimizer steps of the fine-tuning", minimum=1)
    batch_size: int = setting(32, "windows per step", minimum=1)
    learning_rate: float = setting(
        3e-3,
        "peak of the cosine schedule of AdamW, which fine-tunes a given BERT and shows early stopping",
        minimum=0,
    )
    muon_learning_rate: float = setting(
        0.02, "Muon's rate, for the matrices of the layers where the encoder is pretrained here", minimum=0
    )
    adam_learning_rate: float = setting(1e-2, "AdamW's rate beside it: embeddings, norms, head", minimum=0)
    decay: float | None = setting(
        0.5,
        "last share of the steps, in which both rates fall linearly; if none, a cosine",
        minimum=0,
        maximum=1,
    )
    max_grad_norm: float = setting(1.0, "gradients longer than this are scaled down to it", minimum=0)
    few: int = setting(300, "questions of the small training set that early stopping is shown on", minimum=8)
    few_steps: int = setting(110, "most steps on the small training set", minimum=1)
    patience: int = setting(3, "evaluations without a better one, after which the training stops", minimum=1)
    clipping_steps: int = setting(
        50, "steps of the two trainings at a high rate that clipping is shown on", minimum=1
    )
    clipping_learning_rate: float = setting(0.7, "the high rate, of SGD with momentum", minimum=0)
    frozen_layers: int = setting(1, "layers that do not learn where freezing is measured", minimum=0)
    layer_decay: float = setting(
        0.7, "factor of the learning rate from a layer to the one below", minimum=0, maximum=1
    )
    lora_rank: int = setting(2, "rank of the low-rank updates", minimum=1)
    lora_learning_rate: float = setting(6e-3, "peak rate of the low-rank updates", minimum=0)
    review_pretraining_steps: int = setting(800, "optimizer steps of the pretraining on reviews", minimum=1)
    review_steps: int = setting(1500, "optimizer steps of the fine-tunings on reviews", minimum=1)
    seeds: int = setting(
        1, "fine-tunings of the main comparison, each with a head and an order of its own", minimum=1
    )

    @classmethod
    def full(cls) -> "FineTuningSettings":
        return replace(
            cls(),
            questions=20_000,
            comparisons=("early-stopping", "clipping", "freezing", "layer-wise", "lora-reviews"),
            pretraining_steps=500,
            pretraining_learning_rate=1e-3,
            max_steps=3500,
            adam_learning_rate=5e-3,
            decay=None,
            num_attention_heads=2,
            few_steps=150,
            clipping_steps=100,
            clipping_learning_rate=0.4,
            seeds=3,
        )


STAGE = Stage(
    number=13,
    slug="fine-tuning",
    title="Fine-tuning",
    phase="Building and using LLMs",
    summary="A pretrained encoder learns to answer questions by a passage of the text; what keeps that in hand is measured.",
    model_type="llmpath-bert",
    auto_class="AutoModelForQuestionAnswering",
    main="exact_match",
    concepts=(
        Concept("task head", "hf_llmpath.models.modeling_bert.LLMPathBertForQuestionAnswering"),
        Concept("windows with a stride", "hf_llmpath.data.answer_windows.cut_windows"),
        Concept("likeliest span", "hf_llmpath.decoding.answer_spans.best_spans"),
        Concept("exact match and F1", "hf_llmpath.metrics.Squad"),
        Concept("gradient clipping", "hf_llmpath.training.trainer.Recipe"),
        Concept("early stopping", "hf_llmpath.stages.s13_fine_tuning.span_training.fine_tune_reader"),
        Concept("layer freezing", "hf_llmpath.training.adaptation.freeze"),
        Concept("discriminative learning rates", "hf_llmpath.training.adaptation.layer_wise"),
        Concept("LoRA", "hf_llmpath.training.adaptation.with_lora"),
    ),
    settings=FineTuningSettings,
    package=__name__,
)
