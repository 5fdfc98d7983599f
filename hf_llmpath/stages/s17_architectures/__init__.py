"""Stage 17: a decoder, an encoder, and an encoder-decoder at equal size, tokens, and time."""

from dataclasses import dataclass
from typing import ClassVar

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class ArchitecturesSettings(Settings):
    dataset: str = setting("world/reviews", "labeled texts: embedded name, Hub id, or local file or folder")
    text_column: str | None = setting(None, "column of a table that holds the text")
    label_column: str | None = setting(None, "column of a table that holds the class")
    vocab_size: int = setting(1000, "maximum vocabulary size, without the sentinels", minimum=50)
    sentinels: int = setting(8, "sentinel tokens for the spans of T5", minimum=3)
    hidden_size: int = setting(64, "width of all three models", minimum=4)
    num_attention_heads: int = setting(4, "attention heads per layer", minimum=1)
    num_hidden_layers: int = setting(3, "layers of GPT and of BERT", minimum=1)
    num_encoder_layers: int = setting(2, "layers of T5's encoder", minimum=1)
    num_decoder_layers: int = setting(1, "layers of T5's decoder", minimum=1)
    intermediate_size: int = setting(
        128,
        "width of GPT's feed-forward layers; BERT and T5 get the width that makes them as large",
        minimum=1,
    )
    context: int = setting(64, "tokens of the longest text", minimum=8)
    mask_rate: float = setting(0.2, "share of the tokens that BERT has to predict", minimum=0.01, maximum=0.9)
    noise_density: float = setting(
        0.15, "share of the tokens that T5 has to restore", minimum=0.01, maximum=0.9
    )
    mean_span: float = setting(3.0, "mean length of T5's spans, in tokens", minimum=1)
    pretraining: Recipe = group(
        Recipe(steps=250, learning_rate=4e-3, weight_decay=0.01, adam_beta2=0.98, saves=1),
        "pretraining of each model",
    )
    fine_tuning: Recipe = group(
        Recipe(steps=340, learning_rate=2e-3, weight_decay=0.01, adam_beta2=0.98, saves=1),
        "fine-tuning of each model",
    )
    t5_rate: float = setting(0.5, "T5's learning rates, as a share of the others'", minimum=0)
    seeds: int = setting(
        1, "seeds: each trains everything from other weights and in another order", minimum=1
    )
    equal_time: bool = setting(
        False, "whether the faster models are also pretrained for as many seconds as the slowest takes"
    )

    renamed: ClassVar = {
        "max_steps": "pretraining.steps",
        "batch_size": ("pretraining.batch_size", "fine_tuning.batch_size"),
        "learning_rate": "pretraining.learning_rate",
        "fine_tuning_steps": "fine_tuning.steps",
        "fine_tuning_learning_rate": "fine_tuning.learning_rate",
    }

    @classmethod
    def full(cls) -> "ArchitecturesSettings":
        steps = {"pretraining.steps": 1200, "fine_tuning.steps": 800}
        return cls().updated(seeds=3, equal_time=True, **steps)


STAGE = Stage(
    number=17,
    slug="architectures",
    title="Exploring specialized architectures",
    phase="Advanced topics",
    summary="A decoder, an encoder, and an encoder-decoder of equal size read the same texts. "
    "Each is best at something else.",
    model_type="llmpath-bert",
    auto_class="AutoModelForSequenceClassification",
    main="bert/accuracy",
    concepts=(
        Concept("decoder-only (GPT)", "hf_llmpath.models.modeling_gpt.LLMPathGPTForCausalLM"),
        Concept("encoder-only (BERT)", "hf_llmpath.models.modeling_bert.LLMPathBertForMaskedLM"),
        Concept("encoder–decoder (T5)", "hf_llmpath.models.modeling_t5.LLMPathT5ForConditionalGeneration"),
        Concept("relative position bias", "hf_llmpath.models.layers_positions.RelativePositionBias"),
        Concept("span corruption", "hf_llmpath.stages.s17_architectures.span_corruption.SpanCorruption"),
        Concept("text-to-text", "hf_llmpath.stages.s17_architectures.objectives_compared.class_scores"),
        Concept("training objectives", "hf_llmpath.stages.s17_architectures.objectives_compared.SharedTexts"),
        Concept("equal size", "hf_llmpath.stages.s17_architectures.objectives_compared.of_size"),
    ),
    settings=ArchitecturesSettings,
    package=__name__,
)
