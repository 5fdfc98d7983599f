"""Trains summarizers with and without attention, measures them, and records where the main one looked."""

import statistics
from functools import partial
from typing import Any

from transformers import AutoModelForSeq2SeqLM

from ...data.batches.pairs import load_pairs
from ...runs import Goal, Run, add_mean
from . import AttentionSettings
from .source_alignment import align, looked_at_itself
from .summary_training import SummaryData, lead_1, random_sentence, score, train_summarizer

MAIN = "attention"
VARIANTS: dict[str, dict[str, Any]] = {  # name of the model -> what its configuration changes
    MAIN: {"attention": "dot", "copy_mechanism": True},
    "without_attention": {"attention": "none", "copy_mechanism": False},
    "additive": {"attention": "additive", "copy_mechanism": True},
    "without_copying": {"attention": "dot", "copy_mechanism": False},
}
SCORES = ("rougeL", "rouge1", "rouge2", "exact_match", "test_loss")
SIZES = ("cell", "hidden_size", "embedding_size", "num_hidden_layers", "dropout")
ALIGNED = 50  # test documents over which entropy and alignment are averaged
SHOWN = 3  # test documents that the pictures show


def train(settings: AttentionSettings, run: Run) -> None:
    """Fills `run` with the models, their measurements, and the alignments for the pictures."""
    pairs = load_pairs(settings.dataset, settings.document_column, settings.summary_column)
    data = SummaryData.from_pairs(pairs, settings)
    names = [MAIN, "without_attention"]
    names += ["additive"] if settings.additive else []
    names += ["without_copying"] if settings.ablation else []
    sizes = {name: getattr(settings, name) for name in SIZES} | {"initializer_range": 0.5}
    metrics: dict[str, Any] = {}
    summaries: dict[str, list[str]] = {}
    for name in names:
        config = data.config(**sizes, **VARIANTS[name])
        # One result per seed; the metrics are the means, and the saved model has the first seed.
        results = [
            run.once(
                f"{name}-{seed}",
                partial(train_summarizer, data, config, settings.training, seed, settings.num_beams),
            )
            for seed in range(settings.seed, settings.seed + settings.seeds)
        ]
        prefix = "" if name == MAIN else f"{name}/"  # the main metrics are those of the main model
        for score_name in SCORES:
            add_mean(metrics, prefix + score_name, [result[score_name] for result in results])
        metrics[f"{prefix}parameters"] = results[0]["parameters"]
        metrics[f"{prefix}training_seconds"] = statistics.fmean(result["seconds"] for result in results)
        summaries[name] = results[0]["summaries"]
        # A resumed run does not train again, so the model always comes from disk.
        model = AutoModelForSeq2SeqLM.from_pretrained(run.job(f"{name}-{settings.seed}").model_dir)
        run.save_model(model, data.tokenizer, name=None if name == MAIN else name)
        if name == MAIN:
            metrics["source_padding"] = results[0]["padding"]
            run.progress.say("measuring where it looks")
            metrics |= measure_alignments(model, data, summaries[name], run)
    metrics["gain_over_without_attention"] = metrics["rougeL"] - metrics["without_attention/rougeL"]

    baselines = score(lead_1(pairs.test), pairs.test)
    chance = score(random_sentence(pairs.test, settings.seed), pairs.test)
    metrics["lead_1/rougeL"] = baselines["rougeL"]
    baselines |= {f"random_sentence/{name}": chance[name] for name in ("rougeL", "rouge1", "rouge2")}
    shown = [
        {"document": pair.document, "right": pair.summaries[0]}
        | {name: texts[row] for name, texts in summaries.items()}
        for row, pair in enumerate(pairs.test[:SHOWN])
    ]
    run.save_figure_data("summaries", shown)

    goals = []  # scores to reach are known for the embedded data set only
    if settings.dataset in ("world", "world/summaries"):
        goals = [
            Goal("rougeL", 0.90, higher_is_better=True),
            Goal("lead_1/rougeL", 0.5, higher_is_better=False),
            Goal("gain_over_without_attention", 0.10, higher_is_better=True),
        ]
    run.report(pairs.provenance, metrics, baselines, goals, main="rougeL")


def measure_alignments(model: Any, data: SummaryData, summaries: list[str], run: Run) -> dict[str, float]:
    """Measures the attention of the main model on some test documents and saves the alignments to draw.

    Returns:
        The means of `attention_entropy` (bits per summary token), `source_tokens` (per document), and
        `aligned_words` (among the summary words that also occur in the document, the share on which
        attention peaked while they were written). A measure without values is left out.
    """
    pairs = list(zip(data.test, summaries, strict=True))[:ALIGNED]
    alignments = [align(model, data.tokenizer, pair.document, summary) for pair, summary in pairs]
    run.save_figure_data("alignments", [alignment.as_data() for alignment in alignments[:SHOWN]])
    measured = {
        "attention_entropy": [float(bits) for alignment in alignments for bits in alignment.entropy],
        "source_tokens": [float(len(alignment.source)) for alignment in alignments],
        "aligned_words": [float(hit) for alignment in alignments for hit in looked_at_itself(alignment)],
    }
    return {name: statistics.fmean(values) for name, values in measured.items() if values}
