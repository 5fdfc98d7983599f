"""Stage 15: a decoder as fast as the machine allows, larger and larger, and the law that its loss follows."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class ScalingSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    byte_fallback: bool = setting(False, "spell unknown characters in bytes (256 more tokens)")
    widths: tuple[int, ...] = setting(
        (16, 24, 32, 48, 64), "hidden sizes that the law is fitted to", minimum=8
    )
    checked_width: int = setting(96, "hidden size of the larger model that the law is checked on", minimum=8)
    scaling_layers: int = setting(2, "layers of these models", minimum=1)
    scaling_steps: int = setting(100, "optimizer steps of each of them", minimum=1)
    hidden_size: int = setting(96, "width of the main model", minimum=8)
    num_hidden_layers: int = setting(3, "layers of the main model", minimum=1)
    head_size: int = setting(32, "width of an attention head, or the next larger that fits", minimum=2)
    context: int = setting(64, "tokens that a model reads at once", minimum=4)
    batch_size: int = setting(32, "blocks per step", minimum=4)
    max_steps: int = setting(320, "optimizer steps of the main model", minimum=1)
    learning_rate: float = setting(0.02, "Muon's rate, for the hidden matrices", minimum=0)
    adam_learning_rate: float = setting(1e-2, "AdamW's rate, for embeddings and norms", minimum=0)
    decay: float = setting(
        0.5, "last share of the steps, in which the rates fall linearly", minimum=0, maximum=1
    )
    dropout: float = setting(0.0, "dropout of the main model", minimum=0, maximum=0.9)
    mixed_precision: Literal["auto", "no", "bf16"] = setting(
        "auto",
        "bf16: products in 16 bits, weights and their updates in 32; auto: where this machine is faster so",
    )
    agreement_steps: int = setting(12, "steps of the comparison of training loops", minimum=1)

    @classmethod
    def full(cls) -> "ScalingSettings":
        return replace(
            cls(),
            widths=(32, 48, 64, 96, 128),
            checked_width=160,
            scaling_layers=4,
            scaling_steps=250,
            hidden_size=128,
            num_hidden_layers=4,
            head_size=64,
            context=128,
            batch_size=16,
            max_steps=910,
        )


STAGE = Stage(
    number=15,
    slug="scaling",
    title="Scaling up",
    phase="Advanced topics",
    summary="A GPT trained as fast as the machine allows, five sizes of it, and the law that predicts the sixth.",
    model_type="llmpath-gpt",
    auto_class="AutoModelForCausalLM",
    main="validation_loss",
    concepts=(
        Concept("decoder-only Transformer", "hf_llmpath.models.modeling_gpt.LLMPathGPTForCausalLM"),
        Concept("Muon", "hf_llmpath.training.muon.Muon"),
        Concept("data-parallel training", "hf_llmpath.training.recipes.gpt.fit_with_accelerate"),
        Concept("sharded training", "hf_llmpath.training.distributed.fully_shard.fit_sharded"),
        Concept("mixed precision", "hf_llmpath.stages.s15_scaling.footprint.step_footprints"),
        Concept("gradient checkpointing", "hf_llmpath.stages.s15_scaling.footprint.PeakMemory"),
        Concept("gradient accumulation", "hf_llmpath.stages.s15_scaling.agreement.loss_curves"),
        Concept("scaling law", "hf_llmpath.stages.s15_scaling.scaling_law.PowerLaw"),
    ),
    settings=ScalingSettings,
    package=__name__,
)
