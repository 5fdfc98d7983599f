"""Trains a language model, distils it to half its depth, brings it into smaller and faster forms, and
measures them all.
"""

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import processors
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, set_seed

from ...data.batches.token_file import TokenBlocks
from ...data.sources import load_texts
from ...data.tokenizers.word_level import train_word_tokenizer
from ...decoding.beam_search import beam_search, check_beams
from ...deploy.speed import REFERENCE, Row, measure
from ...deploy.variants import build_forms
from ...errors import UserError
from ...models.configuration_gpt import LLMPathGPTConfig
from ...runs import Goal, Run, add_mean
from ...training.baselines import ngram_loss
from ...training.recipes.gpt import GPTRecipe, new_model
from ...training.trainer import fit
from . import InferenceSettings
from .beam_tree import beam_tree
from .distillation import Distillation, distill, half_depth

SPEEDUP, CLOSE, INT8, STUDENT = (
    2.0,
    1e-4,
    1.01,
    0.97,
)  # of ONNX; its logits; perplexity in int8; the student's accuracy
HELD_OUT = 64  # windows of the table's perplexity
PROMPT_TOKENS = 8
TREE_WORDS, TREE_BEAMS, TREE_STEPS = 4, 3, 6


def train(settings: InferenceSettings, run: Run) -> None:
    """Fills `run` with the teacher, its student, and the table of all forms."""
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    run.progress.say("training the tokenizer")
    tokenizer = writing_tokenizer(texts.train, settings.vocab_size, settings.context)
    train_ids, held_out = (_stream(tokenizer, split) for split in (texts.train, texts.validation))
    check_beams(settings.num_beams, 1, len(tokenizer))
    text = _rows(
        held_out, settings.context, HELD_OUT
    )  # before the training: what is too short is said at once

    teacher, seconds = _teacher(settings, run, tokenizer, train_ids)
    before = _scores(teacher, held_out, settings.context)
    ngram = ngram_loss(train_ids, held_out, len(tokenizer), 2)
    metrics: dict[str, Any] = {
        **before,
        "perplexity": math.exp(before["validation_loss"]),
        "parameters": teacher.num_parameters(),
        "training_seconds": seconds,
    }
    students = _students(settings, run, tokenizer, teacher, train_ids, held_out, metrics)
    run.save_model(teacher, tokenizer)
    student = AutoModelForCausalLM.from_pretrained(run.job(students).model_dir)
    run.save_model(student, tokenizer, name="student")

    run.progress.say("exporting to ONNX, quantizing")
    folder = run.new / "model"
    with tempfile.TemporaryDirectory() as place:
        forms, checks = build_forms(folder, Path(place), settings.num_beams, student)
        metrics |= checks
        run.progress.say("measuring every form")
        prompt = torch.from_numpy(held_out[None, :PROMPT_TOKENS])
        rows = measure(forms, prompt, text, settings.tokens, settings.repeats)
    metrics |= _table(rows)
    metrics["onnx/speedup"] = rows["ONNX"].tokens_per_second / rows[REFERENCE].tokens_per_second
    metrics["cache/speedup"] = rows[REFERENCE].tokens_per_second / rows["no cache"].tokens_per_second
    metrics["int8/perplexity_ratio"] = rows["int8"].perplexity / rows[REFERENCE].perplexity
    metrics["nf4/perplexity_ratio"] = rows["nf4"].perplexity / rows[REFERENCE].perplexity
    run.save_figure_data("table", {name: row.as_dict() for name, row in rows.items()})
    run.save_figure_data("beams", _search(teacher, tokenizer, texts.validation[0]))
    goals = [
        Goal("onnx/speedup", SPEEDUP, higher_is_better=True),
        Goal("onnx/max_difference", CLOSE, higher_is_better=False),
        Goal("int8/perplexity_ratio", INT8, higher_is_better=False),
        Goal("student/accuracy_ratio", STUDENT, higher_is_better=True),
        Goal("validation_loss", ngram, higher_is_better=False),
    ]
    baselines = {
        "onnx/speedup": 1.0,
        "validation_loss": ngram,
        "perplexity": math.exp(ngram),
        "student/accuracy": metrics.get("alone/accuracy", metrics["cut/accuracy"]),
    }
    run.report(texts.provenance, metrics, baselines, goals, main="onnx/speedup")


def writing_tokenizer(texts: Sequence[str], vocab_size: int, context: int) -> PreTrainedTokenizerFast:
    """The word tokenizer, with the end token before a text instead of after it, so that a prompt can be
    gone on from.
    """
    tokenizer = train_word_tokenizer(texts, vocab_size, longest=context)
    end = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{end} $A", pair=f"{end} $A {end} $B", special_tokens=[(end, tokenizer.bos_token_id)]
    )
    return tokenizer


def _stream(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> np.ndarray:
    """All texts in a row, `(n,)`, the end token before each and after the last."""
    ids = tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([*(np.asarray(text, dtype=np.int64) for text in ids), [tokenizer.eos_token_id]])


def _blocks(tokens: np.ndarray, settings: InferenceSettings, steps: int, seed: int) -> TokenBlocks:
    return TokenBlocks(tokens, settings.context, settings.batch_size, steps, seed)


def _rows(tokens: np.ndarray, context: int, most: int) -> Tensor:
    """`(rows, context)`, at most `most` of them."""
    rows = min(most, len(tokens) // context)
    if not rows:
        raise UserError(
            f"the validation text has {len(tokens)} tokens; a window has {context}: --set context={len(tokens)}"
        )
    return torch.from_numpy(tokens[: rows * context].reshape(rows, context).copy())


def _teacher(
    settings: InferenceSettings, run: Run, tokenizer: PreTrainedTokenizerFast, tokens: np.ndarray
) -> tuple[Any, float]:
    job = run.job("teacher")
    if not job.done:
        began = time.perf_counter()
        model = new_model(_config(settings, tokenizer), settings.seed)
        recipe = _recipe(settings, settings.max_steps, "learning_rate")
        windows = _blocks(tokens, settings, settings.max_steps, settings.seed)
        per_step = settings.batch_size * settings.context
        fit(model, windows, recipe, job, settings.seed, None, per_step, recipe.optimizer(model))
        job.finish({"seconds": time.perf_counter() - began}, model, tokenizer)
    return AutoModelForCausalLM.from_pretrained(job.model_dir).eval(), job.result["seconds"]


def _recipe(settings: InferenceSettings, steps: int, rate: str) -> GPTRecipe:
    return GPTRecipe(
        steps,
        settings.batch_size,
        getattr(settings, rate),
        weight_decay=0.1,
        warmup=0.0,
        decay=settings.decay,
        adam_learning_rate=settings.adam_learning_rate,
        rate_setting=rate,
    )


def _config(settings: InferenceSettings, tokenizer: PreTrainedTokenizerFast) -> LLMPathGPTConfig:
    return LLMPathGPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=2 * settings.context,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _students(
    settings: InferenceSettings,
    run: Run,
    tokenizer: PreTrainedTokenizerFast,
    teacher: Any,
    train_ids: np.ndarray,
    held_out: np.ndarray,
    metrics: dict[str, Any],
) -> str:
    """Half-depth students with the teacher and, if asked for, from the same weights over the same batches
    without it; returns the name of the part with the first."""
    how = Distillation(settings.alpha, settings.temperature, settings.hidden)
    arms = {"student": how} | ({"alone": Distillation(0.0)} if settings.alone else {})
    recipe = _recipe(settings, settings.student_steps, "student_learning_rate")
    tokens = settings.batch_size * settings.context
    metrics["cut/accuracy"] = _scores(half_depth(teacher), held_out, settings.context)["accuracy"]
    found: dict[str, list[dict[str, float]]] = {}
    for arm, distillation in arms.items():
        for seed in range(settings.seed, settings.seed + settings.seeds):
            job = run.job(f"{arm}-{seed}")
            if not job.done:
                set_seed(seed)
                student = half_depth(teacher)
                windows = _blocks(train_ids, settings, settings.student_steps, seed)
                optimizer = recipe.optimizer(student)
                distill(student, teacher, windows, distillation, recipe, job, seed, tokens, optimizer)
                job.finish(_scores(student, held_out, settings.context), student, tokenizer)
            found.setdefault(arm, []).append(job.result)
    for arm, results in found.items():
        for name in ("accuracy", "validation_loss"):
            add_mean(metrics, f"{arm}/{name}", [result[name] for result in results])
        metrics[f"{arm}/accuracy_ratio"] = metrics[f"{arm}/accuracy"] / metrics["accuracy"]
    return f"student-{settings.seed}"


@torch.no_grad()
def _scores(model: Any, tokens: np.ndarray, context: int) -> dict[str, float]:
    """Loss in nats and share of right guesses per token, over the whole of `tokens` in windows."""
    model.eval()
    rows = _rows(tokens, context, len(tokens))
    loss, right = 0.0, 0
    for batch in rows.split(64):
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1].flatten(0, 1)
        targets = batch[:, 1:].flatten()
        loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(-1) == targets).sum())
    count = rows.shape[0] * (context - 1)
    return {"validation_loss": loss / count, "accuracy": right / count}


def _table(rows: dict[str, Row]) -> dict[str, float]:
    """Flat metrics: `onnx/tokens_per_second` and so on."""
    return {
        f"{name.lower().replace(' ', '_')}/{what}": value
        for name, row in rows.items()
        for what, value in row.as_dict().items()
        if name != REFERENCE or what != "agreement"
    }


def _search(model: Any, tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, Any]:
    """The search for what follows the first words of `text`."""
    ids = tokenizer(" ".join(text.split()[:TREE_WORDS]), return_tensors="pt")["input_ids"]
    found = beam_search(model, ids, num_beams=TREE_BEAMS, max_new_tokens=TREE_STEPS, with_steps=True)
    return {
        "prompt": tokenizer.decode(ids[0], skip_special_tokens=True),
        "steps": beam_tree(found, tokenizer),
    }
