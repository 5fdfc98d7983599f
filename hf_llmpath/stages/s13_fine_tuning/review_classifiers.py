"""Shows where LoRA suits: a pretrained encoder learns to classify texts like those it was pretrained on."""

import statistics
from dataclasses import replace
from typing import Any

from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, Table, load_table
from ...runs import Goal, Run, add_mean
from ...training.adaptation import with_lora
from ...training.recipes.classifier import fine_tune
from ...training.recipes.masked_language_model import MaskedTexts, pretrain, small_encoder
from . import FineTuningSettings

CLASSES = ("negative", "positive")
CONTEXT = 64  # tokens of a review
LORA_GAP, LORA_SHARE = 0.01, 0.05  # limits on LoRA's deficit in accuracy and on its share of the weights


def load_reviews() -> Table:
    """Loads the world's reviews with their labels."""
    columns = {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}
    return load_table("world/reviews", columns, {}, embedded=("world/reviews",))


def lora_on_reviews(
    settings: FineTuningSettings, run: Run, reviews: Table, metrics: dict[str, Any]
) -> list[Goal]:
    """Pretrains an encoder on reviews and fine-tunes it on their labels, in full and with low-rank updates.

    The function adds its results to `metrics` and returns its goals.
    """
    run.progress.say("training the tokenizer of the reviews")
    texts = MaskedTexts.from_texts(  # the last argument masks 20% of the tokens
        reviews.train["text"], reviews.held_out["text"], (), "wordpiece", settings.vocab_size, CONTEXT, 0.2
    )
    config = small_encoder(
        texts.tokenizer,
        CONTEXT,
        hidden_size=settings.hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=settings.intermediate_size,
        classifier_dropout=0.1,
    )
    # Without a rate for Adam, the optimizer is AdamW; without a decay phase, the schedule is a cosine.
    adamw = replace(
        settings.fine_tuning, adam_learning_rate=None, warmup=0.05, decay=None, max_grad_norm=1.0, saves=4
    )
    pretraining = replace(
        adamw, steps=settings.review_pretraining_steps, batch_size=64, learning_rate=8e-3, saves=1
    )
    start = run.job("reviews-pretraining")
    pretrain(texts, config, pretraining, start, settings.seed)

    # The labels are looked up by split, and `held_out` may be the validation or the test split.
    split = next(name for name, rows in reviews.splits.items() if rows is reviews.held_out)
    train, held_out = (texts.train, reviews.labels("train")), (texts.validation, reviews.labels(split))
    # Name of the arm -> the setting that holds its learning rate, and the function that adapts the model
    arms = {
        "reviews": ("adamw_learning_rate", None),
        "reviews_lora": (
            "lora_learning_rate",
            lambda model: with_lora(model, settings.lora_rank, "classifier"),
        ),
    }
    for arm, (rate, adapt) in arms.items():
        recipe = replace(
            adamw, steps=settings.review_steps, learning_rate=getattr(settings, rate), rate_setting=rate
        )
        results = [
            fine_tune(
                start.model_dir, CLASSES, train, held_out, texts.tokenizer, recipe,
                run.job(f"{arm}-{seed}"), seed, adapt,
            )
            for seed in range(settings.seed, settings.seed + settings.seeds)
        ]  # fmt: skip
        add_mean(metrics, f"{arm}/accuracy", [result["accuracy"] for result in results])
        for name in ("trainable_parameters", "trainable_share"):
            metrics[f"{arm}/{name}"] = results[0][name]  # the same for every seed
        metrics[f"{arm}/seconds"] = statistics.fmean(result["seconds"] for result in results)
    metrics["reviews_lora/gap"] = metrics["reviews/accuracy"] - metrics["reviews_lora/accuracy"]
    return [
        Goal("reviews_lora/gap", LORA_GAP, higher_is_better=False),
        Goal("reviews_lora/trainable_share", LORA_SHARE, higher_is_better=False),
    ]
