"""Pretrains GPT, BERT and T5 of equal size on the same texts, teaches each the same labels, and measures
what it took.
"""

import statistics
from functools import partial
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import PreTrainedConfig

from ...data.batches.token_rows import TokenRows
from ...data.tables import LABEL_COLUMNS, TEXT_COLUMNS, Table, load_table
from ...data.tokenizers.subwords import train_subwords
from ...errors import UserError
from ...models.configuration_bert import LLMPathBertConfig
from ...models.configuration_gpt import LLMPathGPTConfig
from ...models.configuration_t5 import LLMPathT5Config
from ...runs import Goal, Job, Run
from ...training.baselines import linear_text_accuracy
from ...training.recipes.masked_language_model import encode, small_encoder
from ...training.trainer import Recipe
from . import ArchitecturesSettings
from . import example_texts as pictures
from .objectives_compared import KINDS, Labeled, Texts, of_size, pretrain, teach
from .span_corruption import add_sentinels
from .strengths import fill_spans, go_on, look, mask_of, masked_accuracy, span_exact_match

AHEAD = {
    "bert": 0.05,
    "gpt": 0.0,
}  # of TF-IDF + logistic regression, in accuracy, on the world's reviews; elsewhere 0
SIZES = 1.05  # the largest model has at most so many weights for each of the smallest
CLASSIFIER = {kind: "AutoModelForSequenceClassification" for kind in ("gpt", "bert")}
MAIN = "bert"  # whose classifier lies in model/


def train(settings: ArchitecturesSettings, run: Run) -> None:
    """Fills `run` with the models and their numbers."""
    table = load_table(
        settings.dataset,
        {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS},
        {"text": settings.text_column, "label": settings.label_column},
        embedded=("world/reviews",),
    )
    classes = ["negative", "positive"] if settings.dataset == "world/reviews" else table.classes
    run.progress.say("training the tokenizer")
    texts = _texts(settings, table, classes)
    split = "validation" if "validation" in table.splits else "test"
    data = Labeled(classes, (texts.train, table.labels("train")), (texts.held_out, table.labels(split)))
    configs = _configs(settings, texts)

    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        results = {kind: _one(settings, run, kind, configs[kind], texts, data, seed) for kind in KINDS}
        slowest = max(result["pretraining_seconds"] for result in results.values())
        for kind, result in results.items():
            if settings.equal_time:
                steps = round(settings.max_steps * slowest / result["pretraining_seconds"])
                longer = result
                if steps > settings.max_steps:
                    longer = _one(settings, run, kind, configs[kind], texts, data, seed, steps)
                result |= {
                    "equal_time/" + name: longer[name] for name in ("accuracy", "perplexity", "tokens")
                }
            for name, value in result.items():
                found[kind].setdefault(name, []).append(value)
    run.progress.say("fitting the linear baseline")
    linear = linear_text_accuracy(
        table.train["text"], data.train[1], table.held_out["text"], data.held_out[1]
    )
    strengths = _save_models(settings, run, texts, table)
    _report(settings, run, table, texts, found, linear, strengths)


def _texts(settings: ArchitecturesSettings, table: Table, classes: list[str]) -> Texts:
    try:
        tokenizer = train_subwords(
            table.train["text"], "wordpiece", settings.vocab_size, max_length=settings.context
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    # T5 writes the names of the classes: each is one token, if it is one word.
    tokenizer.add_tokens([name.lower() for name in classes if name.isalpha()])
    add_sentinels(tokenizer, settings.sentinels)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # one segment
    train, held_out = (
        TokenRows(encode(tokenizer, rows["text"], settings.context)) for rows in (table.train, table.held_out)
    )
    return Texts(tokenizer, train, held_out, settings.mask_rate, settings.noise_density, settings.mean_span)


def _configs(settings: ArchitecturesSettings, texts: Texts) -> dict[str, PreTrainedConfig]:
    """GPT as the settings say, the others of its size; each in the form that it has today."""
    tokenizer = texts.tokenizer
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.hidden_size,
        "num_attention_heads": settings.num_attention_heads,
        "pad_token_id": tokenizer.pad_token_id,
    }

    def bert(size: int) -> LLMPathBertConfig:
        return small_encoder(
            tokenizer,
            settings.context,
            num_hidden_layers=settings.num_hidden_layers,
            intermediate_size=size,
            classifier_dropout=0.1,
            **shared,
        )

    def t5(size: int) -> LLMPathT5Config:
        return LLMPathT5Config(
            num_encoder_layers=settings.num_encoder_layers,
            num_decoder_layers=settings.num_decoder_layers,
            intermediate_size=size,
            embedding_initializer_range=0.08,
            scale_decoder_outputs=False,
            eos_token_id=tokenizer.sep_token_id,
            **shared,
        )

    try:
        gpt = LLMPathGPTConfig(
            num_hidden_layers=settings.num_hidden_layers,
            intermediate_size=settings.intermediate_size,
            max_position_embeddings=settings.context,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            **shared,
        )
        parameters = transformers.AutoModelForCausalLM.from_config(gpt).num_parameters()
        return {"gpt": gpt, "bert": of_size(bert, "bert", parameters), "t5": of_size(t5, "t5", parameters)}
    except StrictDataclassClassValidationError as error:
        raise UserError(str(error.__cause__)) from None


def _part(run: Run, kind: str, seed: int, steps: int | None = None) -> tuple[Job, Job]:
    name = f"{kind}-{seed}" + ("-equal-time" if steps else "")
    return run.job(name), run.job(f"{name}-classifier")


def _one(
    settings: ArchitecturesSettings,
    run: Run,
    kind: str,
    config: PreTrainedConfig,
    texts: Texts,
    data: Labeled,
    seed: int,
    steps: int | None = None,
) -> dict[str, Any]:
    """Pretrains and teaches one model; for `steps`, those of the settings if none."""
    first, second = _part(run, kind, seed, steps)
    recipe = partial(Recipe, weight_decay=0.01, adam_beta2=0.98, saves=1)
    # T5's scores are not scaled down, so a step of the same size changes its attention more.
    share = settings.t5_rate if kind == "t5" else 1.0
    how = recipe(steps or settings.max_steps, settings.batch_size, share * settings.learning_rate)
    before = pretrain(kind, config, texts, how, run, first, seed)
    rate = "fine_tuning_learning_rate"
    how = recipe(
        settings.fine_tuning_steps, settings.batch_size, share * getattr(settings, rate), rate_setting=rate
    )
    after = teach(kind, first.model_dir, data, texts, how, run, second, seed)
    return {
        "accuracy": after["accuracy"],
        "perplexity": before["perplexity"],
        "parameters": before["parameters"],
        "tokens": before["tokens"],
        "memory_mb": before["memory_mb"],
        "pretraining_seconds": before["seconds"],
        "fine_tuning_seconds": after["seconds"],
    }


def _save_models(settings: ArchitecturesSettings, run: Run, texts: Texts, table: Table) -> dict[str, float]:
    """Saves the models of the first seed, with what the pictures show of them; returns what each is best
    at, measured.
    """
    seed, held_out = settings.seed, table.held_out["text"]
    models = {}
    for kind, auto_class in KINDS.items():
        first, second = _part(run, kind, seed)
        models[kind] = getattr(transformers, auto_class).from_pretrained(first.model_dir).eval()
        run.save_model(models[kind], texts.tokenizer_of(kind), name=kind)
        taught = getattr(transformers, CLASSIFIER.get(kind, auto_class)).from_pretrained(second.model_dir)
        tokenizer = texts.tokenizer_of("t5") if kind == "t5" else texts.tokenizer
        run.save_model(taught, tokenizer, name=None if kind == MAIN else f"classifier-{kind}")
    sentence = pictures.sentence_of(settings.dataset, held_out)
    masks = {}
    for kind, model in models.items():
        target = pictures.half_of(sentence) if kind == "t5" else None
        for name, (weights, rows, columns) in look(
            kind, model, texts.tokenizer_of(kind), sentence, target
        ).items():
            masks[f"{kind}/{name}"] = {"mask": mask_of(weights).tolist(), "rows": rows, "columns": columns}
    run.save_figure_data("masks", masks)
    read = texts.tokenizer_of("t5")
    examples = pictures.Examples.of(settings.dataset, held_out)
    run.save_figure_data(
        "strengths",
        {
            "fill": [pictures.filled(models["bert"], texts.tokenizer, text) for text in examples.blanks],
            "write": [
                {"prompt": text, "text": go_on(models["gpt"], texts.tokenizer, text, settings.seed)}
                for text in examples.beginnings
            ],
            "transform": [
                dict(zip(("text", "answer"), fill_spans(models["t5"], read, text), strict=True))
                | {"source": text}
                for text in examples.gaps
            ],
        },
    )
    return {
        "bert/masked_accuracy": masked_accuracy(models["bert"], texts, seed),
        "t5/span_exact_match": span_exact_match(models["t5"], texts, seed),
    }


def _report(
    settings: ArchitecturesSettings,
    run: Run,
    table: Table,
    texts: Texts,
    found: dict[str, dict[str, list[float]]],
    linear: float,
    strengths: dict[str, float],
) -> None:
    metrics: dict[str, Any] = {}
    for kind, values in found.items():
        for name, numbers in values.items():
            metrics[f"{kind}/{name}"] = statistics.fmean(numbers)
            if len(numbers) > 1 and name not in ("parameters", "tokens", "memory_mb"):
                metrics |= {f"{kind}/{name}_sd": statistics.stdev(numbers), f"{kind}/{name}_seeds": numbers}
    sizes = [metrics[f"{kind}/parameters"] for kind in KINDS]
    tokens = {metrics[f"{kind}/tokens"] for kind in KINDS}
    metrics |= {"size_ratio": max(sizes) / min(sizes), "token_ratio": max(tokens) / min(tokens)} | strengths
    baselines = {f"{kind}/accuracy": linear for kind in KINDS}
    goals = [
        Goal("size_ratio", SIZES, higher_is_better=False),
        Goal("token_ratio", 1.0, higher_is_better=False),
    ]
    of_the_world = settings.dataset == "world/reviews"
    goals += [
        Goal(f"{kind}/accuracy", linear + ahead * of_the_world, higher_is_better=True)
        for kind, ahead in AHEAD.items()
    ]
    counted = {  # seconds are no two times the same: the figures read them from the metrics
        kind: {name: numbers for name, numbers in values.items() if not name.endswith("seconds")}
        for kind, values in found.items()
    }
    run.save_figure_data(
        "comparison",
        {"kinds": counted, "linear": linear, "seeds": settings.seeds, "examples": len(texts.held_out)},
    )
    run.report(table.provenance, metrics, baselines, goals, f"{MAIN}/accuracy")
