"""Stage 3: six rules that turn a gradient into a step, written from scratch, race on equal terms."""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage


@dataclass(frozen=True)
class OptimizersSettings(Settings):
    dataset: str = setting("digits", "images to train on: embedded name, Hub id, or local folder")
    image_column: str | None = setting(None, "column of the table that holds the images")
    label_column: str | None = setting(None, "column of the table that holds the class")
    seeds: int = setting(5, "starts of every optimizer, for mean and deviation", minimum=1, maximum=100)
    rates_per_decade: int = setting(
        2, "learning rates tried on the images, per power of ten", minimum=1, maximum=20
    )
    surface_rates_per_decade: int = setting(
        6, "learning rates tried on the surfaces, per power of ten", minimum=1, maximum=50
    )
    hidden_size: int = setting(64, "hidden units of the network", minimum=1)
    batch_size: int = setting(32, "images per step", minimum=1)
    target_loss: float = setting(0.02, "training loss at which the network counts as trained", minimum=0)
    max_steps: int = setting(600, "steps on the images after which an attempt is given up", minimum=50)
    surface_steps: int = setting(6000, "steps on a surface after which an attempt is given up", minimum=1)

    @classmethod
    def full(cls) -> "OptimizersSettings":
        return replace(
            cls(), rates_per_decade=6, max_steps=3000, surface_rates_per_decade=12, surface_steps=10_000
        )


STAGE = Stage(
    number=3,
    slug="optimizers",
    title="Optimization techniques",
    phase="Foundations of neural networks",
    summary="Six ways to walk downhill race on equal terms, each at its own best learning rate.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="ravine/momentum/steps",
    concepts=(
        Concept("stochastic gradient descent", "hf_llmpath.scratch.optimizers.SGD"),
        Concept("momentum", "hf_llmpath.scratch.optimizers.Momentum"),
        Concept("RMSprop", "hf_llmpath.scratch.optimizers.RMSprop"),
        Concept("Adam", "hf_llmpath.scratch.optimizers.Adam"),
        Concept("decoupled weight decay (AdamW)", "hf_llmpath.training.optimizers.AdamW"),
        Concept("learning rate", "hf_llmpath.stages.s03_optimizers.descent.steps_to_target"),
    ),
    settings=OptimizersSettings,
    package=__name__,
)
