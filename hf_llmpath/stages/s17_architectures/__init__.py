"""Stage 17: decoder, encoder and encoder-decoder on the same texts, at equal size, equal tokens and equal
time.
"""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class ArchitecturesSettings(Settings):
    dataset: str = setting("world/reviews", "labeled texts: embedded name, Hub id, or local file or folder")
    text_column: str | None = setting(None, "column of a table that holds the text")
    label_column: str | None = setting(None, "column of a table that holds the class")
    vocab_size: int = setting(1000, "most tokens of the tokenizer, sentinels left out", minimum=50)
    sentinels: int = setting(8, "sentinels for the spans of T5", minimum=3)
    hidden_size: int = setting(64, "width of every model", minimum=4)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    num_hidden_layers: int = setting(3, "layers of GPT and of BERT", minimum=1)
    num_encoder_layers: int = setting(2, "layers of T5's encoder", minimum=1)
    num_decoder_layers: int = setting(1, "layers of T5's decoder", minimum=1)
    intermediate_size: int = setting(
        128, "width of GPT's feed-forward part; the others get the width that makes them as large", minimum=1
    )
    context: int = setting(64, "tokens of the longest text", minimum=8)
    mask_rate: float = setting(0.2, "share of the tokens that BERT must guess", minimum=0.01, maximum=0.9)
    noise_density: float = setting(
        0.15, "share of the tokens that T5 must restore", minimum=0.01, maximum=0.9
    )
    mean_span: float = setting(3.0, "mean length of T5's spans", minimum=1)
    max_steps: int = setting(250, "optimizer steps of each pretraining", minimum=1)
    batch_size: int = setting(32, "texts per step", minimum=1)
    learning_rate: float = setting(4e-3, "peak of the cosine schedule of a pretraining", minimum=0)
    fine_tuning_steps: int = setting(340, "optimizer steps of each fine-tuning", minimum=1)
    fine_tuning_learning_rate: float = setting(
        2e-3, "peak of the cosine schedule of a fine-tuning", minimum=0
    )
    t5_rate: float = setting(0.5, "T5's learning rates, as a share of the others'", minimum=0)
    seeds: int = setting(
        1, "times that everything is trained, from other weights and in another order", minimum=1
    )
    equal_time: bool = setting(
        False, "also pretrain the faster models for as many steps as the slowest has taken seconds for"
    )

    @classmethod
    def full(cls) -> "ArchitecturesSettings":
        return replace(cls(), seeds=3, equal_time=True, max_steps=1200, fine_tuning_steps=800)


STAGE = Stage(
    number=17,
    slug="architectures",
    title="Exploring specialized architectures",
    phase="Advanced topics",
    summary="A decoder, an encoder and an encoder-decoder of equal size read the same texts; each is best at something else.",
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
        Concept("training objectives", "hf_llmpath.stages.s17_architectures.objectives_compared.Texts"),
        Concept("equal size", "hf_llmpath.stages.s17_architectures.objectives_compared.of_size"),
    ),
    settings=ArchitecturesSettings,
    package=__name__,
)
