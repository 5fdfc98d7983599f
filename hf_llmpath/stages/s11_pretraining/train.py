"""Pretrains an encoder on unlabeled text; fine-tunes it and an untrained one on growing numbers of labels."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, set_seed

from ...data.sources import load_texts
from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, load_table
from ...models.modeling_bert import LLMPathBertForMaskedLM
from ...runs import Goal, Run, add_mean
from ...training.recipes.masked_language_model import MaskedTexts, fill_masks, pretrain, small_encoder
from . import PretrainingSettings
from .label_efficiency import ARMS, label_counts, label_efficiency

AHEAD = 0.05  # accuracy to gain over the same network from random weights, with 300 labels
AHEAD_OF_LINEAR = 0.02  # accuracy to gain over the linear baseline, with all labels
CLASSIFIER_DROPOUT = 0.1
BLANKED = (
    "The tea was not [MASK] at all.",
    "The cake was lovely, but the tea was [MASK].",
    "We walked to the [MASK] on a sunny morning.",
    "If only the soup [MASK] been good!",
)
MEASURES = ("validation_loss", "perplexity", "masked_accuracy", "perplexity_before", "parameters", "epochs")


def train(settings: PretrainingSettings, run: Run) -> None:
    """Fills `run` with the masked language model, two classifiers, and their measurements."""
    table = load_table(
        settings.dataset,
        {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS},
        {"text": settings.text_column, "label": settings.label_column},
        embedded=("world/reviews",),
    )
    counts = label_counts(settings, table)  # a wrong setting is rejected before anything is trained
    corpus = load_texts(settings.corpus, sample_by="line", stream=True) if settings.corpus else None
    run.progress.say("training the tokenizer")
    texts = MaskedTexts.from_texts(
        table.train["text"],
        table.held_out["text"],
        corpus.train if corpus else (),
        settings.tokenizer,
        settings.vocab_size,
        settings.context,
        settings.mask_rate,
        run.job("corpus").folder,
    )
    config = small_encoder(
        texts.tokenizer,
        settings.context,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        intermediate_size=settings.intermediate_size,
        position_embedding_type=settings.position_embedding_type,
        norm_position=settings.norm_position,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
        classifier_dropout=CLASSIFIER_DROPOUT,
        initializer_range=settings.initializer_range,
    )
    recipe = settings.pretraining
    # A short run may have fewer steps than evaluations.
    recipe = replace(recipe, evaluations=min(recipe.evaluations, recipe.steps))
    job = run.job("pretraining")
    result = pretrain(texts, config, recipe, job, settings.seed)
    # A resumed run does not train again, so the model always comes from disk.
    model = AutoModelForMaskedLM.from_pretrained(job.model_dir)
    # `pretrain` set the same seed, so these are the weights that the pretraining began with.
    set_seed(settings.seed)
    untrained = LLMPathBertForMaskedLM(config)
    run.save_model(model, texts.tokenizer)
    run.save_model(untrained, texts.tokenizer, name="untrained")

    scores = label_efficiency(settings, table, texts, config, run)
    shown = min(counts, key=lambda count: abs(count - 300))  # the classifiers that the page shows
    for arm in ARMS:
        folder = run.job(f"{arm}-{shown}-{settings.seed}").model_dir
        classifier = AutoModelForSequenceClassification.from_pretrained(folder)
        run.save_model(classifier, texts.tokenizer, name=f"classifier-{arm}")

    sentences = BLANKED
    if settings.dataset != "world/reviews":
        sentences = blanked(table.held_out["text"], texts.tokenizer.mask_token)
    models = {"before": untrained, "after": model}
    fills = [
        # Each text has one mask, whose fills are the first entry.
        {"text": text} | {name: fill_masks(m, texts.tokenizer, text)[0] for name, m in models.items()}
        for text in sentences
    ]
    run.save_figure_data("fills", fills)
    run.save_figure_data("masking", maskings(texts, table.held_out["text"][0], settings.seed))
    run.save_figure_data("label_efficiency", scores)

    unigram_loss, unigram_accuracy = texts.unigram_loss()
    metrics: dict[str, Any] = {}
    baselines = {
        "validation_loss": unigram_loss,
        "perplexity": math.exp(unigram_loss),  # perplexity = exp(loss in nats)
        "masked_accuracy": unigram_accuracy,
    }
    goals = [Goal("perplexity", baselines["perplexity"], higher_is_better=False)]
    names = {count: f"accuracy_{'all' if count == len(table.train) else count}" for count in counts}
    for index, (count, name) in enumerate(names.items()):
        add_mean(metrics, name, scores["pretrained"][index])
        add_mean(metrics, f"random_initialization/{name}", scores["random"][index])
        baselines[name] = metrics[f"random_initialization/{name}"]
        baselines[f"linear/{name}"] = statistics.fmean(scores["linear"][index])
        if count == 300:
            goals.append(Goal(name, baselines[name] + AHEAD, higher_is_better=True))
        if count == len(table.train):
            goals.append(Goal(name, baselines[f"linear/{name}"] + AHEAD_OF_LINEAR, higher_is_better=True))
    metrics |= {name: result[name] for name in MEASURES} | {"training_seconds": result["seconds"]}
    dataset = table.provenance | ({"corpus": corpus.provenance} if corpus else {})
    run.report(dataset, metrics, baselines, goals, main=names.get(300, names[counts[0]]))


def blanked(texts: Sequence[str], mask: str, count: int = 4) -> list[str]:
    """Returns the beginnings of `count` texts, with `mask` in place of the longest word of each."""
    sentences = []
    for text in texts:
        words = text.split()[:14]
        if len(words) >= 6:  # a shorter text says too little about the missing word
            words[max(range(len(words)), key=lambda index: len(words[index]))] = mask
            sentences.append(" ".join(words))
        if len(sentences) == count:
            break
    return sentences or [f"{texts[0].split()[0]} {mask}"]


def maskings(texts: MaskedTexts, text: str, seed: int, draws: int = 4) -> dict[str, Any]:
    """Returns the tokens of a text and, for each draw, what the model sees and which tokens it must guess."""
    tokenizer = texts.tokenizer
    ids = torch.tensor([tokenizer(text, truncation=True)["input_ids"]])  # (1, length)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))  # (1, length)
    generator, seen = torch.Generator().manual_seed(seed), []
    for _ in range(draws):
        inputs, labels = texts.masking(ids, ~special, generator)  # (1, length) each
        tokens = tokenizer.convert_ids_to_tokens(inputs[0].tolist())
        # (length,); the label is -100 for a token that is not to be guessed.
        seen.append({"seen": tokens, "guessed": (labels[0] >= 0).tolist()})
    return {"tokens": tokenizer.convert_ids_to_tokens(ids[0].tolist()), "draws": seen}
