"""Pretrains GPT, BERT, and T5 of equal size on the same texts and teaches each the same labels."""

import statistics
from dataclasses import dataclass, replace
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
from ...runs import Goal, Run, add_mean
from ...training.baselines import linear_text_accuracy
from ...training.recipes.masked_language_model import encode, small_encoder
from . import ArchitecturesSettings
from .objectives_compared import KINDS, LabeledRows, SharedTexts, of_size, pretrain, teach
from .span_corruption import add_sentinels
from .strengths import examples_of, half_of, look, mask_of, masked_accuracy, sentence_of, span_exact_match

# The required lead in accuracy over TF-IDF + logistic regression on the world's reviews; 0 on other data
AHEAD = {"bert": 0.05, "gpt": 0.0}
SIZES = 1.05  # limit on the ratio of the largest model's weights to the smallest's
CLASSIFIER = {kind: "AutoModelForSequenceClassification" for kind in ("gpt", "bert")}
MAIN = "bert"  # its classifier is the stage's model


def train(settings: ArchitecturesSettings, run: Run) -> None:
    """Fills `run` with the models and their metrics."""
    table = load_table(
        settings.dataset,
        {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS},
        {"text": settings.text_column, "label": settings.label_column},
        embedded=("world/reviews",),
    )
    # The world's labels are 0 and 1; T5 has to write words.
    classes = ["negative", "positive"] if settings.dataset == "world/reviews" else table.classes
    run.progress.say("training the tokenizer")
    texts = _tokenized(settings, table, classes)
    split = "validation" if "validation" in table.splits else "test"
    data = LabeledRows(classes, (texts.train, table.labels("train")), (texts.held_out, table.labels(split)))
    contest = _Contest(settings, run, texts, data, _configs(settings, texts))

    results: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        for kind, numbers in contest.of_seed(seed).items():
            for name, value in numbers.items():
                results[kind].setdefault(name, []).append(value)
    run.progress.say("fitting the linear baseline")
    linear = linear_text_accuracy(
        table.train["text"], data.train[1], table.held_out["text"], data.held_out[1]
    )
    strengths = _save_models(settings, run, texts, table)
    _report(settings, run, table, texts, results, linear, strengths)


def _tokenized(settings: ArchitecturesSettings, table: Table, classes: list[str]) -> SharedTexts:
    train = table.train["text"]
    try:
        tokenizer = train_subwords(train, "wordpiece", settings.vocab_size, max_length=settings.context)
    except ValueError as error:
        raise UserError(str(error)) from None
    # T5 writes the names of the classes; a name of one word becomes one token, in the lowercase of the texts.
    tokenizer.add_tokens([name.lower() for name in classes if name.isalpha()])
    add_sentinels(tokenizer, settings.sentinels)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # there is only one segment
    rows = [
        TokenRows(encode(tokenizer, split["text"], settings.context))
        for split in (table.train, table.held_out)
    ]
    return SharedTexts(tokenizer, *rows, settings.mask_rate, settings.noise_density, settings.mean_span)


def _configs(settings: ArchitecturesSettings, texts: SharedTexts) -> dict[str, PreTrainedConfig]:
    """Returns GPT's configuration from the settings, and BERT's and T5's with as many weights."""
    tokenizer = texts.tokenizer
    shared = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.hidden_size,
        "num_attention_heads": settings.num_attention_heads,
        "pad_token_id": tokenizer.pad_token_id,
    }

    def bert(intermediate_size: int) -> LLMPathBertConfig:
        return small_encoder(
            tokenizer,
            settings.context,
            num_hidden_layers=settings.num_hidden_layers,
            intermediate_size=intermediate_size,
            classifier_dropout=0.1,
            **shared,
        )

    def t5(intermediate_size: int) -> LLMPathT5Config:
        return LLMPathT5Config(
            num_encoder_layers=settings.num_encoder_layers,
            num_decoder_layers=settings.num_decoder_layers,
            intermediate_size=intermediate_size,
            # The original T5 has 1, but it was trained by Adafactor, whose steps grow with the weights.
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
    except StrictDataclassClassValidationError as error:  # sizes that do not fit, such as of the heads
        raise UserError(str(error.__cause__)) from None


@dataclass(frozen=True)
class _Contest:
    """Holds everything that the training runs of all seeds have in common."""

    settings: ArchitecturesSettings
    run: Run
    texts: SharedTexts
    data: LabeledRows
    configs: dict[str, PreTrainedConfig]

    def of_seed(self, seed: int) -> dict[str, dict[str, float]]:
        """Returns the metrics of each kind; with `equal_time`, also those after the slowest kind's time."""
        steps = self.settings.pretraining.steps
        results = {kind: self.trained(kind, seed, steps) for kind in KINDS}
        if self.settings.equal_time:
            slowest = max(result["pretraining_seconds"] for result in results.values())
            for kind, result in results.items():
                # The number of steps that this kind takes in the time of the slowest one
                more = round(steps * slowest / result["pretraining_seconds"])
                longer = self.trained(kind, seed, more, "-equal-time") if more > steps else result
                result |= {
                    f"equal_time/{name}": longer[name] for name in ("accuracy", "perplexity", "tokens")
                }
        return results

    def trained(self, kind: str, seed: int, steps: int, suffix: str = "") -> dict[str, float]:
        """Pretrains one model, fine-tunes it to classify, and returns its metrics."""
        settings, name = self.settings, f"{kind}-{seed}{suffix}"
        # T5 does not divide its scores by √d, so a step of the same size changes its attention more.
        share = settings.t5_rate if kind == "t5" else 1.0
        first, second = (
            replace(recipe, learning_rate=share * recipe.learning_rate)
            for recipe in (settings.pretraining, settings.fine_tuning)
        )
        job = self.run.job(name)
        before = pretrain(kind, self.configs[kind], self.texts, replace(first, steps=steps), job, seed)
        classifier = self.run.job(f"{name}-classifier")
        after = teach(kind, job.model_dir, self.data, self.texts, second, classifier, seed)
        kept = {key: before[key] for key in ("perplexity", "parameters", "tokens", "memory_mb")}
        seconds = {"pretraining_seconds": before["seconds"], "fine_tuning_seconds": after["seconds"]}
        return {"accuracy": after["accuracy"]} | kept | seconds


def _save_models(
    settings: ArchitecturesSettings, run: Run, texts: SharedTexts, table: Table
) -> dict[str, float]:
    """Saves the first seed's models and the data of their pictures.

    Returns:
        The metrics that only one architecture has: accuracy on masked tokens and exact match of spans.
    """
    seed, held_out = settings.seed, table.held_out["text"]
    models, tokenizers = {}, {kind: texts.tokenizer_of(kind) for kind in KINDS}
    for kind, auto_class in KINDS.items():
        pretrained = run.job(f"{kind}-{seed}").model_dir
        models[kind] = getattr(transformers, auto_class).from_pretrained(pretrained).eval()
        run.save_model(models[kind], tokenizers[kind], name=kind)
        taught = getattr(transformers, CLASSIFIER.get(kind, auto_class)).from_pretrained(
            run.job(f"{kind}-{seed}-classifier").model_dir
        )
        tokenizer = tokenizers["t5"] if kind == "t5" else texts.tokenizer
        run.save_model(taught, tokenizer, name=None if kind == MAIN else f"classifier-{kind}")
    sentence = sentence_of(settings.dataset, held_out)
    masks = {}
    for kind, model in models.items():
        target = half_of(sentence) if kind == "t5" else None
        for name, (weights, rows, columns) in look(kind, model, tokenizers[kind], sentence, target).items():
            masks[f"{kind}/{name}"] = {"mask": mask_of(weights).tolist(), "rows": rows, "columns": columns}
    run.save_figure_data("masks", masks)
    run.save_figure_data("strengths", examples_of(settings.dataset, held_out, models, texts, seed))
    return {
        "bert/masked_accuracy": masked_accuracy(models["bert"], texts, seed),
        "t5/span_exact_match": span_exact_match(models["t5"], texts, seed),
    }


def _report(
    settings: ArchitecturesSettings,
    run: Run,
    table: Table,
    texts: SharedTexts,
    results: dict[str, dict[str, list[float]]],
    linear: float,
    strengths: dict[str, float],
) -> None:
    metrics: dict[str, Any] = {}
    for kind, values in results.items():
        for name, numbers in values.items():
            if name in ("parameters", "tokens", "memory_mb"):  # the same for every seed
                metrics[f"{kind}/{name}"] = statistics.fmean(numbers)
            else:
                add_mean(metrics, f"{kind}/{name}", numbers)
    sizes = [metrics[f"{kind}/parameters"] for kind in KINDS]
    tokens = {metrics[f"{kind}/tokens"] for kind in KINDS}
    metrics |= {"size_ratio": max(sizes) / min(sizes), "token_ratio": max(tokens) / min(tokens)} | strengths
    goals = [
        Goal("size_ratio", SIZES, higher_is_better=False),
        Goal("token_ratio", 1.0, higher_is_better=False),
    ]
    of_the_world = settings.dataset == "world/reviews"
    goals += [
        Goal(f"{kind}/accuracy", linear + ahead * of_the_world, higher_is_better=True)
        for kind, ahead in AHEAD.items()
    ]
    # Times differ between runs, so the charts read them from the metrics rather than from this file.
    counted = {
        kind: {name: numbers for name, numbers in values.items() if not name.endswith("seconds")}
        for kind, values in results.items()
    }
    comparison = {
        "kinds": counted,
        "linear": linear,
        "seeds": settings.seeds,
        "examples": len(texts.held_out),
    }
    run.save_figure_data("comparison", comparison)
    baselines = {f"{kind}/accuracy": linear for kind in KINDS}
    run.report(table.provenance, metrics, baselines, goals, f"{MAIN}/accuracy")
