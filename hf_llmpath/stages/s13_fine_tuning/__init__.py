"""Stage 13: a pretrained encoder learns to answer questions, with the usual remedies for poor training."""

from dataclasses import dataclass
from typing import ClassVar

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class FineTuningSettings(Settings):
    dataset: str = setting(
        "world/questions", "questions in SQuAD's form: embedded name, Hub id, or local file or folder"
    )
    questions: int | None = setting(
        None,
        "most questions to learn from; none: 10,000 of the world, or all questions of another data set",
        minimum=2,
    )
    context_column: str | None = setting(None, "column with the texts that the questions are about")
    question_column: str | None = setting(None, "column with the questions")
    answers_column: str | None = setting(None, "column with the answers (text and answer_start)")
    model: str | None = setting(
        None, "BERT to fine-tune, as a local folder or Hub id; none: a small one is pretrained first"
    )
    comparisons: tuple[str, ...] = setting(
        ("early-stopping", "clipping"),
        "remedies to measure, each against doing without; also freezing, layer-wise, lora, lora-reviews",
    )
    hidden_size: int = setting(64, "width of the encoder", minimum=4)
    num_hidden_layers: int = setting(4, "number of layers of the encoder", minimum=1)
    num_attention_heads: int = setting(4, "attention heads per layer", minimum=1)
    intermediate_size: int = setting(128, "width of the feed-forward part of a layer", minimum=1)
    initializer_range: float = setting(0.16, "standard deviation of the initial weights", minimum=0)
    vocab_size: int = setting(1000, "most tokens of the tokenizer", minimum=50)
    max_length: int = setting(128, "most tokens of a window, question included", minimum=16)
    stride: int | None = setting(
        None, "tokens that neighboring windows share; none: a quarter of a window", minimum=0
    )
    fine_tuning: Recipe = group(
        Recipe(
            steps=500,
            batch_size=32,
            learning_rate=0.02,
            weight_decay=0.01,
            warmup=0.0,
            decay=0.5,
            adam_beta2=0.98,
            saves=3,
            adam_learning_rate=1e-2,
        ),
        "fine-tuning, by Muon unless a BERT is given",
    )
    adamw_learning_rate: float = setting(
        3e-3, "peak learning rate of AdamW, which trains a given BERT and shows early stopping", minimum=0
    )
    pretraining_steps: int = setting(200, "optimizer steps of the masked language modeling", minimum=1)
    pretraining_learning_rate: float | None = setting(
        None, "peak learning rate of the pretraining by AdamW; none: by Muon as the fine-tuning", minimum=0
    )
    few: int = setting(300, "questions of the small training set that shows early stopping", minimum=8)
    few_steps: int = setting(110, "most optimizer steps on the small training set", minimum=1)
    patience: int = setting(3, "evaluations without improvement before early stopping stops", minimum=1)
    clipping_steps: int = setting(
        50, "optimizer steps of the two trainings at a high rate that show clipping", minimum=1
    )
    clipping_learning_rate: float = setting(0.7, "the high rate, of SGD with momentum", minimum=0)
    frozen_layers: int = setting(1, "layers that do not learn where freezing is measured", minimum=0)
    layer_decay: float = setting(
        0.7, "factor of the learning rate from one layer to the layer below", minimum=0, maximum=1
    )
    lora_rank: int = setting(2, "rank of the low-rank updates", minimum=1)
    lora_learning_rate: float = setting(6e-3, "peak learning rate of the low-rank updates", minimum=0)
    review_pretraining_steps: int = setting(800, "optimizer steps of the pretraining on reviews", minimum=1)
    review_steps: int = setting(1500, "optimizer steps of each fine-tuning on reviews", minimum=1)
    seeds: int = setting(
        1, "number of fine-tunings to average over, each with its own head and order of questions", minimum=1
    )

    renamed: ClassVar = {
        "max_steps": "fine_tuning.steps",
        "batch_size": "fine_tuning.batch_size",
        "muon_learning_rate": "fine_tuning.learning_rate",
        "adam_learning_rate": "fine_tuning.adam_learning_rate",
        "decay": "fine_tuning.decay",
        "max_grad_norm": "fine_tuning.max_grad_norm",
        "learning_rate": "adamw_learning_rate",
    }

    @classmethod
    def full(cls) -> "FineTuningSettings":
        recipe = {"steps": 3500, "adam_learning_rate": 5e-3, "warmup": 0.05, "decay": None}
        return cls().updated(
            **{f"fine_tuning.{name}": value for name, value in recipe.items()},
            questions=20_000,
            comparisons=("early-stopping", "clipping", "freezing", "layer-wise", "lora-reviews"),
            pretraining_steps=500,
            pretraining_learning_rate=1e-3,
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
    summary="A pretrained encoder learns to answer questions by a passage of a text; remedies are measured.",
    model_type="llmpath-bert",
    auto_class="AutoModelForQuestionAnswering",
    main="exact_match",
    concepts=(
        Concept("task head", "hf_llmpath.models.modeling_bert.LLMPathBertForQuestionAnswering"),
        Concept("windows with a stride", "hf_llmpath.data.answer_windows.cut_windows"),
        Concept("likeliest span", "hf_llmpath.decoding.answer_spans.best_spans"),
        Concept("exact match and F1", "hf_llmpath.metrics.Squad"),
        Concept("gradient clipping", "hf_llmpath.training.recipe.Recipe"),
        Concept("early stopping", "hf_llmpath.stages.s13_fine_tuning.span_training.fine_tune_reader"),
        Concept("layer freezing", "hf_llmpath.training.adaptation.freeze"),
        Concept("discriminative learning rates", "hf_llmpath.training.adaptation.layer_wise"),
        Concept("LoRA", "hf_llmpath.training.adaptation.with_lora"),
    ),
    settings=FineTuningSettings,
    package=__name__,
)
