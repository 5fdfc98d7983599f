"""Stage 5: a network memorizes a handful of images; regularizers make it generalize instead."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import EpochRecipe
from ..stage import Concept, Stage

# The rows of the comparison: name -> name on pages.
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
class WholeRecipe(EpochRecipe):
    """How to train a large network on all images, and with which regularizers."""

    epochs: int = setting(0, "passes over the training data; 0 leaves this training out", minimum=0)
    batch_size: int = setting(256, "images per step", minimum=2)
    learning_rate: float = setting(1e-3, "peak of the one-cycle schedule", minimum=0)
    dropout_epochs: int = setting(
        0, "passes with dropout and no augmentation; 0 takes the same number", minimum=0
    )
    hidden_sizes: tuple[int, ...] = setting((800, 800), "units of the hidden layers", minimum=1)
    weight_decay: float = setting(0.01, "weight decay of AdamW", minimum=0)
    dropout: float = setting(0.4, "dropout on hidden units", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels", minimum=0, maximum=0.95)
    augmented_dropout: float = setting(
        0.2, "dropout on hidden units where images are augmented", minimum=0, maximum=0.95
    )
    max_norm: float = setting(1.0, "longest weight vector into a hidden unit", minimum=0.01)
    precision: Literal["auto", "no", "bf16"] = setting(
        "no", "bf16 computes matrix products in 16 bits; auto chooses it where it is faster"
    )


@dataclass(frozen=True)
class RegularizationSettings(Settings):
    dataset: str = setting(
        "digits", "digits, a parquet file or folder, a folder of class folders, or a Hub id"
    )
    image_column: str | None = setting(None, "column of the table that holds the images")
    label_column: str | None = setting(None, "column of the table that holds the class")
    seeds: int = setting(1, "seeds of every number", minimum=1)
    # The comparison on a small sample.
    per_class: int = setting(30, "training images of each class in the comparison", minimum=2)
    wrong_labels: float = setting(
        0.2, "share of the training images that get a wrong label", minimum=0, maximum=0.9
    )
    hidden_sizes: tuple[int, ...] = setting((256, 256), "hidden layers in the comparison", minimum=1)
    training: EpochRecipe = group(EpochRecipe(80, 32, 2e-3), "each training of the comparison")
    dropout: float = setting(0.5, "dropout on hidden units in the comparison", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels in the comparison", minimum=0, maximum=0.95)
    weight_decay: float = setting(5.0, "weight decay of AdamW in the comparison", minimum=0)
    max_norm: float = setting(0.7, "longest weight vector into a hidden unit in the comparison", minimum=0.01)
    label_smoothing: float = setting(
        0.1, "share of the target that goes to all classes alike", minimum=0, maximum=0.9
    )
    patience: int = setting(
        8, "evaluations without a lower validation loss before early stopping stops", minimum=1
    )
    # A large network on all images.
    whole: WholeRecipe = group(WholeRecipe(), "large network on all images")

    renamed: ClassVar[dict[str, str]] = {
        "table_epochs": "training.epochs",
        "batch_size": "training.batch_size",
        "learning_rate": "training.learning_rate",
        "epochs": "whole.epochs",
        "dropout_epochs": "whole.dropout_epochs",
        "large_hidden_sizes": "whole.hidden_sizes",
        "large_batch_size": "whole.batch_size",
        "large_learning_rate": "whole.learning_rate",
        "large_weight_decay": "whole.weight_decay",
        "large_dropout": "whole.dropout",
        "large_input_dropout": "whole.input_dropout",
        "augmented_dropout": "whole.augmented_dropout",
        "large_max_norm": "whole.max_norm",
        "large_precision": "whole.precision",
    }

    @classmethod
    def full(cls) -> "RegularizationSettings":
        whole = WholeRecipe(epochs=36, dropout_epochs=40, precision="auto")
        return replace(cls(), seeds=3, dropout=0.7, input_dropout=0.3, whole=whole)


STAGE = Stage(
    number=5,
    slug="regularization",
    title="Regularization and generalization",
    phase="Introduction to deep learning",
    summary="A network memorizes a few digits, wrong labels and all. Watch what makes it generalize instead.",
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
