"""Stage 15: a decoder is trained fast and at growing sizes, and its loss follows a scaling law."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage


@dataclass(frozen=True)
class ScalingSettings(Settings):
    text_column: str | None = setting(None, "column of a table that holds the text")
    byte_fallback: bool = setting(False, "whether unknown characters are spelled in bytes (256 more tokens)")
    widths: tuple[int, ...] = setting(
        (16, 24, 32, 48, 64), "hidden sizes that the law is fitted to", minimum=8
    )
    checked_width: int = setting(96, "hidden size of the larger model that the law is checked on", minimum=8)
    scaling_layers: int = setting(2, "layers of the models of the law", minimum=1)
    scaling_steps: int = setting(100, "optimizer steps of each model of the law", minimum=1)
    hidden_size: int = setting(96, "width of the main model", minimum=8)
    num_hidden_layers: int = setting(3, "layers of the main model", minimum=1)
    head_size: int = setting(32, "width of an attention head, or the next larger one that fits", minimum=2)
    context: int = setting(64, "tokens that a model reads at once", minimum=4)
    dropout: float = setting(0.0, "dropout of the main model", minimum=0, maximum=0.9)
    training: Recipe = group(
        Recipe(320, 32, 0.02, warmup=0.0, decay=0.5, adam_learning_rate=1e-2, saves=2),
        "the main model, and all but the steps of the other models",
    )
    mixed_precision: Literal["auto", "no", "bf16"] = setting(
        "auto", "bf16: products in 16 bits, weights and updates in 32; auto: where that is faster here"
    )
    agreement_steps: int = setting(12, "steps of the comparison of training loops", minimum=1)

    renamed: ClassVar = {
        "max_steps": "training.steps",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
        "adam_learning_rate": "training.adam_learning_rate",
        "decay": "training.decay",
    }

    @classmethod
    def full(cls) -> "ScalingSettings":
        law = {
            "widths": (32, 48, 64, 96, 128),
            "checked_width": 160,
            "scaling_layers": 4,
            "scaling_steps": 250,
        }
        main = {"hidden_size": 128, "num_hidden_layers": 4, "head_size": 64, "context": 128}
        return cls().updated(**law, **main, **{"training.batch_size": 16, "training.steps": 910})


STAGE = Stage(
    number=15,
    slug="scaling",
    title="Scaling up",
    phase="Advanced topics",
    summary="A GPT trained as fast as the machine allows, in five sizes, and the law that predicts a sixth.",
    model_type="llmpath-gpt",
    auto_class="AutoModelForCausalLM",
    main="validation_loss",
    concepts=(
        Concept("decoder-only Transformer", "hf_llmpath.models.modeling_gpt.LLMPathGPTForCausalLM"),
        Concept("Muon", "hf_llmpath.training.muon.Muon"),
        Concept("data-parallel training", "hf_llmpath.training.accelerate_loop.AcceleratedTraining"),
        Concept("sharded training", "hf_llmpath.training.distributed.fully_shard.fit_sharded"),
        Concept("mixed precision", "hf_llmpath.stages.s15_scaling.footprint.step_footprints"),
        Concept("gradient checkpointing", "hf_llmpath.stages.s15_scaling.footprint.PeakMemory"),
        Concept("gradient accumulation", "hf_llmpath.stages.s15_scaling.agreement.loss_curves"),
        Concept("scaling law", "hf_llmpath.stages.s15_scaling.scaling_law.PowerLaw"),
    ),
    settings=ScalingSettings,
    package=__name__,
)
