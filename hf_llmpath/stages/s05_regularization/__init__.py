"""Stage 5: a network that learns a handful of images by heart, and what makes it generalize instead."""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage

# The table, a row each, as they are shown.
SHOWN = {
    "plain": "plain",
    "dropout": "dropout",
    "batch_norm": "batch norm",
    "weight_decay": "weight decay",
    "all": "all three",
    "layer_norm": "layer norm",
    "max_norm": "max-norm",
    "label_smoothing": "label smoothing",
    "early_stopping": "early stopping",
    "augmentation": "augmentation",
    "all_augmentation": "all + augmentation",
}


@dataclass(frozen=True)
class RegularizationSettings(Settings):
    dataset: str = setting(
        "digits", "digits, a parquet file or folder, a folder of class folders, or a Hub id"
    )
    image_column: str | None = setting(None, "column of a table that holds the images")
    label_column: str | None = setting(None, "column of a table that holds the class")
    per_class: int = setting(30, "training images of each class in the table", minimum=2)
    wrong_labels: float = setting(
        0.2, "share of the table's training images with a wrong label", minimum=0, maximum=0.9
    )
    hidden_sizes: tuple[int, ...] = setting((256, 256), "units of the hidden layers in the table", minimum=1)
    table_epochs: int = setting(80, "passes over the few images, for each row of the table", minimum=1)
    batch_size: int = setting(32, "images per step in the table", minimum=2)
    learning_rate: float = setting(2e-3, "first rate of the cosine schedule in the table", minimum=0)
    dropout: float = setting(0.5, "dropout on hidden units in the table", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels in the table", minimum=0, maximum=0.95)
    weight_decay: float = setting(5.0, "weight decay of AdamW in the table", minimum=0)
    max_norm: float = setting(0.7, "longest weight vector into a hidden unit in the table", minimum=0.01)
    label_smoothing: float = setting(0.1, "share of the target for all classes alike", minimum=0, maximum=0.9)
    patience: int = setting(8, "looks without a lower validation loss before early stopping stops", minimum=1)
    seeds: int = setting(1, "seeds of every number", minimum=1)
    epochs: int = setting(
        0, "passes of the large network over all training images; 0 leaves it out", minimum=0
    )
    dropout_epochs: int = setting(0, "its passes with dropout and no augmentation; 0 for as many", minimum=0)
    large_hidden_sizes: tuple[int, ...] = setting((800, 800), "units of its hidden layers", minimum=1)
    large_batch_size: int = setting(256, "its images per step", minimum=2)
    large_learning_rate: float = setting(1e-3, "peak of its one-cycle schedule", minimum=0)
    large_weight_decay: float = setting(0.01, "its weight decay", minimum=0)
    large_dropout: float = setting(0.4, "its dropout on hidden units", minimum=0, maximum=0.95)
    large_input_dropout: float = setting(0.2, "its dropout on pixels", minimum=0, maximum=0.95)
    augmented_dropout: float = setting(
        0.2, "its dropout on hidden units beside augmentation", minimum=0, maximum=0.95
    )
    large_max_norm: float = setting(1.0, "longest weight vector into one of its hidden units", minimum=0.01)
    large_precision: Literal["auto", "no", "bf16"] = setting(
        "no", "bf16: its matrix products in 16 bits, the rest in 32; auto: where this machine is faster so"
    )

    @classmethod
    def full(cls) -> "RegularizationSettings":
        return replace(
            cls(),
            dropout=0.7,
            input_dropout=0.3,
            seeds=3,
            epochs=36,
            dropout_epochs=40,
            large_precision="auto",
        )


STAGE = Stage(
    number=5,
    slug="regularization",
    title="Regularization and generalization",
    phase="Introduction to deep learning",
    summary="A network learns a few digits by heart, wrong labels and all; watch what makes it generalize instead.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="error",
    concepts=(
        Concept("overfitting", "hf_llmpath.stages.s05_regularization.regularized.small_sample"),
        Concept("dropout", "hf_llmpath.models.layers_regularization.Dropout"),
        Concept("weight decay", "hf_llmpath.training.recipe.adamw"),
        Concept("batch normalization", "hf_llmpath.models.layers_regularization.BatchNorm"),
        Concept("backward pass of a normalization", "hf_llmpath.models.layers_regularization.Normalization"),
        Concept("layer normalization", "hf_llmpath.models.layers_regularization.LayerNorm"),
        Concept("max-norm constraint", "hf_llmpath.models.layers_regularization.max_norm_"),
        Concept("label smoothing", "hf_llmpath.training.recipes.image_classifier.ImageRegularizers"),
        Concept("early stopping", "hf_llmpath.training.recipe.Recipe"),
        Concept("data augmentation", "hf_llmpath.stages.s05_regularization.augmentation.Augmentation"),
    ),
    settings=RegularizationSettings,
    package=__name__,
)
