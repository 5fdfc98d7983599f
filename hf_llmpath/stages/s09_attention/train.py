"""Trains the summarizer with attention and the same one without, measures both, and keeps where the first
one looked.
"""

import statistics
from typing import Any

from transformers import AutoModelForSeq2SeqLM

from ...data.batches.pairs import Pair, load_pairs
from ...runs import Goal, Run, add_mean
from ...training.trainer import Recipe
from . import AttentionSettings
from .source_alignment import Alignment, align_with, looked_at_itself
from .summary_training import SummaryData, lead_1, random_sentence, score, train_summarizer

MAIN = "attention"
VARIANTS: dict[str, dict[str, Any]] = {  # name of the model -> what its configuration changes
    MAIN: {"attention": "dot", "copy_mechanism": True},
    "without_attention": {"attention": "none", "copy_mechanism": False},
    "additive": {"attention": "additive", "copy_mechanism": True},
    "without_copying": {"attention": "dot", "copy_mechanism": False},
}
SCORES = ("rougeL", "rouge1", "rouge2", "exact_match", "test_loss")
ALIGNED = 50  # test documents over which entropy and alignment are averaged
SHOWN = 3  # of them, drawn


def train(settings: AttentionSettings, run: Run) -> None:
    """Fills `run` with the models, their numbers, and the alignments that the pictures are drawn from."""
    pairs = load_pairs(settings.dataset, settings.document_column, settings.summary_column)
    data = SummaryData.from_pairs(
        pairs, settings.vocab_size, settings.tokens == "pieces", settings.max_source, settings.max_target
    )
    names = [MAIN, "without_attention"]
    names += ["additive"] if settings.additive else []
    names += ["without_copying"] if settings.ablation else []
    metrics: dict[str, Any] = {}
    for name in names:
        results = [_trained(settings, data, run, name, seed) for seed in _seeds(settings)]
        prefix = "" if name == MAIN else f"{name}/"
        for score_name in SCORES:
            add_mean(metrics, prefix + score_name, [result[score_name] for result in results])
        metrics[f"{prefix}parameters"] = results[0]["parameters"]
        metrics[f"{prefix}training_seconds"] = statistics.fmean(result["seconds"] for result in results)
    metrics["gain_over_without_attention"] = metrics["rougeL"] - metrics["without_attention/rougeL"]

    baselines = score(lead_1(pairs.test), pairs.test)
    anything = score(random_sentence(pairs.test, settings.seed), pairs.test)
    metrics["lead_1/rougeL"] = baselines["rougeL"]
    baselines |= {f"random_sentence/{name}": anything[name] for name in ("rougeL", "rouge1", "rouge2")}

    metrics["source_padding"] = run.job(f"{MAIN}-{settings.seed}").result["padding"]
    written = {name: run.job(f"{name}-{settings.seed}").result["summaries"] for name in names}
    for name in names:
        model = AutoModelForSeq2SeqLM.from_pretrained(run.job(f"{name}-{settings.seed}").model_dir)
        run.save_model(model, data.tokenizer, name=None if name == MAIN else name)
        if name == MAIN:
            run.progress.say("measuring where it looks")
            metrics |= _look(model, data, written[MAIN], run)
    run.save_figure_data("summaries", _shown(pairs.test, written))

    goals = []
    if settings.dataset in ("world", "world/summaries"):
        goals = [
            Goal("rougeL", 0.90, higher_is_better=True),
            Goal("lead_1/rougeL", 0.5, higher_is_better=False),
            Goal("gain_over_without_attention", 0.10, higher_is_better=True),
        ]
    run.report(pairs.provenance, metrics, baselines, goals, main="rougeL")


def _seeds(settings: AttentionSettings) -> range:
    return range(settings.seed, settings.seed + settings.seeds)


def _trained(
    settings: AttentionSettings, data: SummaryData, run: Run, name: str, seed: int
) -> dict[str, Any]:
    sizes = ("cell", "hidden_size", "embedding_size", "num_hidden_layers", "dropout")
    shape = {size: getattr(settings, size) for size in sizes} | {"initializer_range": 0.5} | VARIANTS[name]
    recipe = Recipe(settings.max_steps, settings.batch_size, settings.learning_rate, weight_decay=0.01)
    return train_summarizer(
        data, shape, recipe, run, f"{name}-{seed}", seed, settings.hidden_words, settings.num_beams
    )


def _look(model: Any, data: SummaryData, written: list[str], run: Run) -> dict[str, float]:
    """Mean entropy of the attention, and how often a word that stands in the document was looked at when
    written.
    """
    pairs = list(zip(data.test, written, strict=True))[:ALIGNED]
    found = [align_with(model, data.tokenizer, pair.document, summary) for pair, summary in pairs]
    run.save_figure_data("alignments", [_kept(alignment) for alignment in found[:SHOWN]])
    measured = {
        "attention_entropy": [float(value) for alignment in found for value in alignment.entropy],
        "source_tokens": [float(len(alignment.source)) for alignment in found],
        "aligned_words": [float(hit) for alignment in found for hit in looked_at_itself(alignment)],
    }
    return {name: statistics.fmean(values) for name, values in measured.items() if values}


def _kept(alignment: Alignment) -> dict[str, Any]:
    return {
        "source": alignment.source,
        "summary": alignment.summary,
        "weights": [[round(float(value), 4) for value in row] for row in alignment.weights],
        "entropy": [round(float(value), 4) for value in alignment.entropy],
        "copied": [round(float(value), 4) for value in alignment.copied],
    }


def _shown(test: list[Pair], written: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {"document": pair.document, "right": pair.summaries[0]}
        | {name: texts[row] for name, texts in written.items()}
        for row, pair in enumerate(test[:SHOWN])
    ]
