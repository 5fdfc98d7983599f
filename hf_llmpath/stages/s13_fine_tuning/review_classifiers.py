"""LoRA where it is at home: a pretrained encoder becomes a classifier of what it has read, in full and by
low-rank updates.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, load_table
from ...runs import Goal, Run, add_mean
from ...training.adaptation import with_lora
from ...training.recipes.classifier import fine_tune
from ...training.recipes.masked_language_model import MaskedTexts, pretrain, small_encoder
from ...training.trainer import Recipe
from . import FineTuningSettings

CLASSES = ("negative", "positive")
CONTEXT = 64  # tokens of a review
LORA_GAP, LORA_SHARE = 0.01, 0.05  # most that LoRA may lie behind, with that share of the weights
ADAM_BETA2 = 0.98


def lora_on_reviews(
    settings: FineTuningSettings, run: Run
) -> tuple[dict[str, Any], list[Goal], dict[str, dict[str, Any]]]:
    """Pretrains on the world's reviews, fine-tunes on their labels both ways; returns metrics, goals, and
    what was read.
    """
    table = load_table(
        "world/reviews", {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}, {}, embedded=("world/reviews",)
    )
    run.progress.say("training the tokenizer of the reviews")
    texts = MaskedTexts.from_texts(
        table.train["text"], table.held_out["text"], (), "wordpiece", settings.vocab_size, CONTEXT, 0.2
    )
    start = _pretrained(settings, run, texts)
    split = next(name for name, rows in table.splits.items() if rows is table.held_out)
    train, held_out = (texts.train, table.labels("train")), (texts.validation, table.labels(split))
    arms = {"reviews": "learning_rate", "reviews_lora": "lora_learning_rate"}
    found: dict[str, list[dict[str, Any]]] = {}
    for arm, rate in arms.items():
        recipe = Recipe(
            settings.review_steps, settings.batch_size, getattr(settings, rate), weight_decay=0.01,
            adam_beta2=ADAM_BETA2, rate_setting=rate,
        )  # fmt: skip
        adapt = (
            (lambda model: with_lora(model, settings.lora_rank, "classifier"))
            if arm == "reviews_lora"
            else None
        )
        for seed in range(settings.seed, settings.seed + settings.seeds):
            job = run.job(f"{arm}-{seed}")
            result = fine_tune(start, CLASSES, train, held_out, texts.tokenizer, recipe, job, seed, adapt)
            found.setdefault(arm, []).append(result)
    metrics: dict[str, Any] = {}
    for arm, results in found.items():
        add_mean(metrics, f"{arm}/accuracy", [result["accuracy"] for result in results])
        metrics |= {f"{arm}/{name}": results[0][name] for name in ("trainable_parameters", "trainable_share")}
        metrics[f"{arm}/seconds"] = float(np.mean([result["seconds"] for result in results]))
    metrics["reviews_lora/gap"] = metrics["reviews/accuracy"] - metrics["reviews_lora/accuracy"]
    goals = [
        Goal("reviews_lora/gap", LORA_GAP, higher_is_better=False),
        Goal("reviews_lora/trainable_share", LORA_SHARE, higher_is_better=False),
    ]
    return metrics, goals, {"reviews": table.provenance}


def _pretrained(settings: FineTuningSettings, run: Run, texts: MaskedTexts) -> Path:
    job = run.job("reviews-pretraining")
    config = small_encoder(
        texts.tokenizer,
        CONTEXT,
        hidden_size=settings.hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=settings.intermediate_size,
        classifier_dropout=0.1,
    )
    recipe = Recipe(
        settings.review_pretraining_steps, 64, 8e-3, weight_decay=0.01, adam_beta2=ADAM_BETA2, saves=1
    )
    pretrain(texts, config, recipe, job, settings.seed)
    return job.model_dir
