"""Fine-tunes an encoder to answer questions, and measures each means of keeping that in hand against
doing without it.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from ...convert.bert import load_bert
from ...data.answer_windows import load_questions
from ...data.batches.collators import Masking
from ...data.batches.token_rows import TokenRows
from ...data.tables import Table
from ...data.tokenizers.subwords import train_subwords
from ...errors import UserError, nearest
from ...models.configuration_bert import LLMPathBertConfig
from ...models.modeling_bert import LLMPathBertForQuestionAnswering
from ...runs import Goal, Job, Run, add_mean
from ...training.adaptation import freeze, layer_wise, layer_wise_muon, with_lora
from ...training.baselines import overlap_answers
from ...training.recipes.masked_language_model import MaskedTexts, pretrain, small_encoder
from ...training.trainer import Recipe
from . import FineTuningSettings
from .review_classifiers import ADAM_BETA2, LORA_GAP, LORA_SHARE, lora_on_reviews
from .span_training import Reading, answer_all, fine_tune_reader

HEAD = "LLMPathBertForQuestionAnswering"
COMPARISONS = ("early-stopping", "clipping", "freezing", "layer-wise", "lora", "lora-reviews")
EXACT = 0.95  # exact match on the world's questions
SHOWN = 6  # questions whose answers are drawn
MOMENTUM = 0.9
NO_LIMIT = 1e9  # no gradient is as long; the Trainer reports the norm only where there is a limit


@dataclass(frozen=True)
class _Bench:
    """What every training of the run shares."""

    settings: FineTuningSettings
    run: Run
    tokenizer: PreTrainedTokenizerBase
    train: Reading
    held_out: Reading
    make: Callable[[], nn.Module]

    @property
    def recipe(self) -> Recipe:
        s = self.settings
        return Recipe(
            s.max_steps, s.batch_size, s.learning_rate, weight_decay=0.01, adam_beta2=ADAM_BETA2,
            max_grad_norm=s.max_grad_norm, saves=3,
        )  # fmt: skip

    @property
    def main(self) -> dict[str, Any]:
        """Recipe and optimizer of the main training, as arguments of `tune`: Muon's for an encoder that
        was pretrained here.
        """
        if self.settings.model is not None:
            return {"recipe": self.recipe}
        return {"recipe": _by_muon(self.recipe, self.settings), "make_optimizer": _muon(self.settings)}

    def tune(self, name: str, recipe: Recipe | None = None, **changes: Any) -> dict[str, Any]:
        """One training, by AdamW if `changes` name no other; `changes` are arguments of `fine_tune_reader`."""
        given = {"make": self.make, "train": self.train, "seed": self.settings.seed} | changes
        return fine_tune_reader(
            given.pop("make"),
            given.pop("train"),
            self.held_out,
            self.tokenizer,
            recipe or self.recipe,
            self.run,
            self.run.job(name),
            **given,
        )


def train(settings: FineTuningSettings, run: Run) -> None:
    """Fills `run` with the reader, those it is compared with, and their numbers."""
    for name in settings.comparisons:
        if name not in COMPARISONS:
            raise UserError(
                f"no comparison '{name}'{nearest(name, COMPARISONS)}; there are: {', '.join(COMPARISONS)}"
            )
    columns = {name: getattr(settings, f"{name}_column") for name in ("context", "question", "answers")}
    table = load_questions(settings.dataset, columns, settings.questions)
    run.progress.say("cutting the contexts into windows")
    tokenizer, make, metrics = _start(settings, run, table)
    train, held_out = (
        Reading.of(rows, tokenizer, settings.max_length, settings.stride)
        for rows in (table.train, table.held_out)
    )
    bench = _Bench(settings, run, tokenizer, train, held_out, make)

    seeds = range(settings.seed, settings.seed + settings.seeds)
    results = [bench.tune(f"full-{seed}", seed=seed, **bench.main) for seed in seeds]
    for name in ("exact_match", "f1", "validation_loss"):
        add_mean(metrics, name, [result[name] for result in results])
    reader = AutoModelForQuestionAnswering.from_pretrained(run.job(f"full-{settings.seed}").model_dir)
    metrics |= {
        "parameters": reader.num_parameters(),
        "windows_per_question": len(train.windows) / len(train),
        "training_seconds": statistics.fmean(result["seconds"] for result in results),
    }
    run.save_model(reader, tokenizer)

    run.progress.say("answering by the overlap of words")
    baselines = overlap_answers(held_out.questions, held_out.contexts, held_out.right)
    # 95 % of the world is a promise of the full preset, the mean of several seeds; a minute gets a part
    # of the way.
    promised = settings.dataset == "world/questions" and settings.seeds >= 3
    goals = [
        Goal("exact_match", EXACT if promised else baselines["exact_match"], higher_is_better=True),
        Goal("f1", baselines["f1"], higher_is_better=True),
    ]
    provenance = table.provenance
    if "early-stopping" in settings.comparisons:
        goals += _early_stopping(bench, table, metrics)
    if "clipping" in settings.comparisons:
        goals += _clipping(bench, metrics)
    if "freezing" in settings.comparisons:
        result = bench.tune("frozen", make=lambda: freeze(make(), settings.frozen_layers), **bench.main)
        _add_result(metrics, "frozen", result)
    if "layer-wise" in settings.comparisons:
        result = bench.tune("layer_wise", **bench.main | {"make_optimizer": _layer_wise(settings)})
        _add_result(metrics, "layer_wise", result)
    if "lora" in settings.comparisons:
        goals += _lora(bench, metrics, seeds)
    if "lora-reviews" in settings.comparisons:
        found, wanted, read = lora_on_reviews(settings, run)
        metrics |= found
        goals += wanted
        provenance |= read
    run.save_figure_data("answers", _shown(reader, held_out, tokenizer))
    run.report(provenance, metrics, baselines, goals, main="exact_match")


def _start(
    settings: FineTuningSettings, run: Run, table: Table
) -> tuple[PreTrainedTokenizerBase, Callable[[], nn.Module], dict[str, Any]]:
    """Tokenizer, what makes the encoder with a new head, and what the pretraining measured."""
    if settings.model is not None:
        model, tokenizer = load_bert(settings.model, HEAD)
        if settings.max_length > model.config.max_position_embeddings:
            raise UserError(
                f"max_length is {settings.max_length}; {settings.model} reads {model.config.max_position_embeddings} "
                f"tokens: --set max_length={model.config.max_position_embeddings}"
            )
        return tokenizer, lambda: load_bert(settings.model, HEAD)[0], {}
    run.progress.say("training the tokenizer")
    questions, contexts = list(table.train["question"]), list(dict.fromkeys(table.train["context"]))
    try:
        tokenizer = train_subwords(
            [*questions, *contexts], "wordpiece", settings.vocab_size, True, settings.max_length
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    job = run.job("pretraining")
    result = _pretrain(settings, job, tokenizer, table, contexts)
    names = ("perplexity", "perplexity_before", "masked_accuracy")
    pretraining = {f"pretraining/{name}": result[name] for name in names}
    return tokenizer, lambda: LLMPathBertForQuestionAnswering.from_pretrained(job.model_dir), pretraining


def _pretrain(
    settings: FineTuningSettings, job: Job, tokenizer: Any, table: Table, contexts: list[str]
) -> dict[str, Any]:
    held_out = list(dict.fromkeys(table.held_out["context"]))
    rows = [
        TokenRows(
            tokenizer(texts, truncation=True, max_length=settings.max_length, return_attention_mask=False)[
                "input_ids"
            ]
        )
        for texts in (contexts, held_out)
    ]
    texts = MaskedTexts(tokenizer, *rows, Masking(tokenizer.mask_token_id, len(tokenizer), 0.2))
    rate, optimizer = settings.pretraining_learning_rate, None
    recipe = Recipe(
        settings.pretraining_steps, settings.batch_size, rate or 0.0, weight_decay=0.01, adam_beta2=ADAM_BETA2,
        saves=1, rate_setting="pretraining_learning_rate",
    )  # fmt: skip
    if rate is None:
        recipe, optimizer = _by_muon(recipe, settings), _muon(settings)
    return pretrain(texts, _config(settings, tokenizer), recipe, job, settings.seed, optimizer)


def _config(settings: FineTuningSettings, tokenizer: PreTrainedTokenizerBase) -> LLMPathBertConfig:
    return small_encoder(
        tokenizer,
        settings.max_length,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        intermediate_size=settings.intermediate_size,
        type_vocab_size=2,
        initializer_range=settings.initializer_range,
    )


def _early_stopping(bench: _Bench, table: Table, metrics: dict[str, Any]) -> list[Goal]:
    """A small training set is soon learned by heart; the loss on other questions rises from there on."""
    settings = bench.settings
    if settings.few > len(table.train):
        raise UserError(f"few is {settings.few}; {table.name} has {len(table.train)} questions to train on")
    few = Reading.of(
        table.train.select(range(settings.few)), bench.tokenizer, settings.max_length, settings.stride
    )
    followed = replace(
        bench.recipe, steps=settings.few_steps, evaluations=12, schedule="constant_with_warmup"
    )
    arms = {
        "stopped": replace(followed, patience=settings.patience),
        "not_stopped": replace(followed, keep_best=False),
    }
    results = {name: bench.tune(name, recipe, train=few) for name, recipe in arms.items()}
    for name, result in results.items():
        _add_result(metrics, name, result, "steps", "validation_loss")
    metrics["early_stopping/steps_saved"] = results["not_stopped"]["steps"] - results["stopped"]["steps"]
    metrics["early_stopping/loss_saved"] = (
        results["not_stopped"]["validation_loss"] - results["stopped"]["validation_loss"]
    )
    return [
        Goal("early_stopping/steps_saved", 1, higher_is_better=True),
        Goal("early_stopping/loss_saved", 0, higher_is_better=True),
    ]


def _clipping(bench: _Bench, metrics: dict[str, Any]) -> list[Goal]:
    """The same training at a high rate, with the gradients clipped and as they come; by SGD with
    momentum, whose steps are as long as its gradients (Adam divides by their size)."""
    settings = bench.settings
    high = replace(
        bench.recipe,
        steps=settings.clipping_steps,
        learning_rate=settings.clipping_learning_rate,
        rate_setting="clipping_learning_rate",
    )
    arms = {"clipped": high, "not_clipped": replace(high, max_grad_norm=NO_LIMIT)}

    def sgd(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=settings.clipping_learning_rate, momentum=MOMENTUM)

    results = {name: bench.tune(name, recipe, make_optimizer=sgd) for name, recipe in arms.items()}
    for name, result in results.items():
        _add_result(metrics, name, result, "validation_loss")
    metrics["clipping/loss_saved"] = (
        results["not_clipped"]["validation_loss"] - results["clipped"]["validation_loss"]
    )
    return [Goal("clipping/loss_saved", 0, higher_is_better=True)]


def _lora(bench: _Bench, metrics: dict[str, Any], seeds: range) -> list[Goal]:
    settings = bench.settings
    recipe = replace(
        bench.recipe, learning_rate=settings.lora_learning_rate, rate_setting="lora_learning_rate"
    )
    results = [
        bench.tune(
            f"lora-{seed}",
            recipe,
            make=lambda: with_lora(bench.make(), settings.lora_rank, "qa_outputs"),
            seed=seed,
        )
        for seed in seeds
    ]
    add_mean(metrics, "lora/exact_match", [result["exact_match"] for result in results])
    metrics |= {
        f"lora/{name}": results[0][name]
        for name in ("f1", "trainable_parameters", "trainable_share", "seconds")
    }
    metrics["lora/gap"] = metrics["exact_match"] - metrics["lora/exact_match"]
    model = AutoModelForQuestionAnswering.from_pretrained(bench.run.job(f"lora-{settings.seed}").model_dir)
    bench.run.save_model(model, bench.tokenizer, name="lora")
    return [
        Goal("lora/gap", LORA_GAP, higher_is_better=False),
        Goal("lora/trainable_share", LORA_SHARE, higher_is_better=False),
    ]


def _by_muon(recipe: Recipe, settings: FineTuningSettings) -> Recipe:
    """The recipe with the rate and the schedule of Muon."""
    recipe = replace(recipe, learning_rate=settings.muon_learning_rate, rate_setting="muon_learning_rate")
    return recipe if settings.decay is None else replace(recipe, warmup=0.0, decay=settings.decay)


def _muon(
    settings: FineTuningSettings, layer_decay: float = 1.0
) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: layer_wise_muon(
        model, settings.muon_learning_rate, settings.adam_learning_rate, layer_decay, 0.01
    )


def _layer_wise(settings: FineTuningSettings) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """The optimizer of the main training, with rates that fall from layer to layer downwards."""
    if settings.model is None:
        return _muon(settings, settings.layer_decay)
    return lambda model: layer_wise(model, settings.learning_rate, settings.layer_decay, 0.01, ADAM_BETA2)


def _add_result(metrics: dict[str, Any], name: str, result: dict[str, Any], *more: str) -> None:
    for what in ("exact_match", "f1", "trainable_share", "seconds", *more):
        metrics[f"{name}/{what}"] = result[what]


def _shown(model: nn.Module, reading: Reading, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """The first questions of different contexts, with the likeliest answers and the right ones."""
    chosen = [row for row, context in enumerate(reading.contexts) if context not in reading.contexts[:row]][
        :SHOWN
    ]
    part = Reading.of(
        {name: [getattr(reading, f"{name}s" if name != "answers" else name)[row] for row in chosen]
         for name in ("question", "context", "answers")},
        tokenizer, model.config.max_position_embeddings, None,
    )  # fmt: skip
    return [
        {
            "question": question,
            "context": context,
            "right": right,
            "answers": [
                {"text": answer.text, "start": answer.start, "end": answer.end, "score": answer.score}
                for answer in found
            ],
        }
        for question, context, right, found in zip(
            part.questions,
            part.contexts,
            part.right,
            answer_all(model, part, tokenizer.pad_token_id, 4),
            strict=True,
        )
    ]
