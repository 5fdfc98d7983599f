"""Stage 5: a network that learns a handful of images by heart, and what makes it generalise instead."""

from dataclasses import dataclass, replace

from ...settings import Settings, setting
from ..stage import Concept, Stage

LAYERS = "tests/models/test_regularization.py"
AUGMENT = "tests/data/test_augment.py"

# The table, a row each, as they are shown.
SHOWN = {
    "plain": "plain",
    "dropout": "dropout",
    "batch_norm": "batch norm",
    "weight_decay": "weight decay",
    "all": "all three",
    "layer_norm": "layer norm",
    "max_norm": "max-norm",
    "early_stopping": "early stopping",
    "augmentation": "augmentation",
    "all_augmentation": "all + augmentation",
}


@dataclass(frozen=True)
class RegularizationSettings(Settings):
    dataset: str = setting("digits", "digits, a parquet file or folder, a folder of class folders, or a Hub id")
    image_column: str | None = setting(None, "column of a table that holds the images")
    label_column: str | None = setting(None, "column of a table that holds the class")
    per_class: int = setting(10, "training images of each class in the table", minimum=2)
    hidden_sizes: tuple[int, ...] = setting((256, 256), "units of the hidden layers in the table", minimum=1)
    max_steps: int = setting(600, "optimiser steps of each row of the table", minimum=1)
    batch_size: int = setting(32, "images per step in the table", minimum=2)
    learning_rate: float = setting(2e-3, "peak of the schedule in the table", minimum=0)
    dropout: float = setting(0.5, "dropout on hidden units where it is switched on", minimum=0, maximum=0.95)
    input_dropout: float = setting(0.2, "dropout on pixels where it is switched on", minimum=0, maximum=0.95)
    weight_decay: float = setting(1.0, "weight decay of AdamW where it is switched on", minimum=0)
    max_norm: float = setting(1.0, "longest weight vector into a unit where it is limited", minimum=0.01)
    patience: int = setting(8, "looks without a lower validation loss before early stopping stops", minimum=1)
    seeds: int = setting(1, "seeds of every number", minimum=1)
    epochs: int = setting(0, "passes over the whole training split by the large network; 0 leaves it out", minimum=0)
    large_hidden_sizes: tuple[int, ...] = setting((1024, 1024), "units of the large network's layers", minimum=1)
    large_batch_size: int = setting(256, "images per step of the large network", minimum=2)
    large_learning_rate: float = setting(2e-3, "peak of the large network's schedule", minimum=0)

    @classmethod
    def full(cls) -> "RegularizationSettings":
        return replace(cls(), seeds=3, epochs=18)


STAGE = Stage(
    number=5,
    slug="regularization",
    title="Regularization and generalization",
    phase="Introduction to deep learning",
    summary="Ten images of each digit are learned by heart in seconds; dropout, normalization and decay make them mean more.",
    model_type="llmpath-mlp",
    auto_class="AutoModelForImageClassification",
    main="error",
    concepts=(
        Concept(
            "overfitting",
            "hf_llmpath.training.regularized.small_sample",
            "tests/training/test_regularized.py::test_few_images_are_learned_by_heart",
        ),
        Concept(
            "dropout",
            "hf_llmpath.models.regularization.Dropout",
            f"{LAYERS}::test_dropout_draws_the_mask_of_torch",
        ),
        Concept(
            "weight decay",
            "hf_llmpath.training.regularized.Regularizers.optimizer",
            "tests/training/test_regularized.py::test_weight_decay_shrinks_matrices_alone",
        ),
        Concept(
            "batch normalization",
            "hf_llmpath.models.regularization.BatchNorm",
            f"{LAYERS}::test_batch_norm_equals_torch",
        ),
        Concept(
            "backward pass of a normalization",
            "hf_llmpath.models.regularization.Normalization",
            f"{LAYERS}::test_gradients_equal_differences",
        ),
        Concept(
            "layer normalization",
            "hf_llmpath.models.regularization.LayerNorm",
            f"{LAYERS}::test_layer_norm_equals_torch",
        ),
        Concept(
            "max-norm constraint",
            "hf_llmpath.models.regularization.max_norm_",
            f"{LAYERS}::test_max_norm_equals_torch_renorm",
        ),
        Concept(
            "early stopping",
            "hf_llmpath.training.regularized.EarlyStopping",
            "tests/training/test_regularized.py::test_early_stopping_keeps_the_best_weights",
        ),
        Concept(
            "data augmentation",
            "hf_llmpath.data.augment.Augmentation",
            f"{AUGMENT}::test_elastic_displacement_has_the_stated_size_and_is_smooth",
        ),
    ),
    settings=RegularizationSettings,
    package=__name__,
)
