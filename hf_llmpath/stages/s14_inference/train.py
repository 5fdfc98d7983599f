"""Trains a language model, distills it, builds smaller and faster forms of it, and measures them all."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import processors
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, set_seed

from ...data.batches.token_file import TokenBlocks
from ...data.sources import load_texts
from ...data.tokenizers.word_level import train_word_tokenizer
from ...decoding.beam_search import beam_search, check_beams
from ...deploy.speed import REFERENCE, Row, measure
from ...deploy.variants import build_forms
from ...errors import UserError
from ...models.configuration_gpt import LLMPathGPTConfig
from ...runs import Goal, Job, Run, add_mean
from ...training.baselines import ngram_loss
from ...training.recipe import Recipe
from ...training.recipes.gpt import new_model
from ...training.trainer import fit
from . import InferenceSettings
from .beam_tree import beam_tree
from .distillation import Distillation, distill, half_depth

HELD_OUT = 64  # windows on which the perplexity in the table is measured
PROMPT_TOKENS = 8  # of the prompt in the measurements of speed
TREE_WORDS, TREE_BEAMS, TREE_STEPS = 4, 3, 6  # words of the prompt, beams, and steps of the drawn search


def train(settings: InferenceSettings, run: Run) -> None:
    """Fills `run` with the teacher, its student, and the table of all forms."""
    texts = load_texts(settings.dataset, text_column=settings.text_column)
    run.progress.say("training the tokenizer")
    tokenizer = writing_tokenizer(texts.train, settings.vocab_size, settings.context)
    train_ids, held_out = (_stream(tokenizer, split) for split in (texts.train, texts.validation))
    # Too many beams or too short a text should stop the run here, before any training.
    check_beams(settings.num_beams, 1, len(tokenizer))
    windows = _windows(held_out, settings.context, HELD_OUT)  # (rows, context)
    config = LLMPathGPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        max_position_embeddings=2 * settings.context,  # room to write beyond a training window
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    tokens_per_step = settings.teacher.batch_size * settings.context

    def blocks(recipe: Recipe, seed: int) -> TokenBlocks:
        return TokenBlocks(train_ids, settings.context, recipe.batch_size, recipe.steps, seed)

    def train_teacher(job: Job) -> dict[str, Any]:
        began, recipe, seed = time.perf_counter(), settings.teacher, settings.seed
        model = new_model(config, seed)
        fit(model, blocks(recipe, seed), recipe, job, seed, tokens_per_step=tokens_per_step)
        job.save_model(model, tokenizer)
        return {"seconds": time.perf_counter() - began}

    seconds = run.once("teacher", train_teacher)["seconds"]
    teacher = AutoModelForCausalLM.from_pretrained(run.job("teacher").model_dir).eval()
    scores = token_scores(teacher, held_out, settings.context)
    ngram = ngram_loss(train_ids, held_out, len(tokenizer), 2)  # each word from the two words before it
    cut = token_scores(half_depth(teacher), held_out, settings.context)  # the student before its training
    metrics: dict[str, Any] = {
        **scores,
        "perplexity": math.exp(scores["validation_loss"]),
        "parameters": teacher.num_parameters(),
        "training_seconds": seconds,
        "cut/accuracy": cut["accuracy"],
    }

    student_recipe = replace(
        settings.teacher,
        steps=settings.student.steps,
        learning_rate=settings.student.learning_rate,
        rate_setting="student.learning_rate",
        adam_rate_setting="teacher.adam_learning_rate",
    )
    losses = {
        "student": Distillation(settings.student.alpha, settings.student.temperature, settings.student.hidden)
    }
    if settings.student.alone:  # the same initial weights and batches, without the teacher
        losses["alone"] = Distillation(alpha=0.0)

    def train_student(job: Job, loss: Distillation, seed: int) -> dict[str, float]:
        set_seed(seed)
        student = half_depth(teacher)
        batches = blocks(student_recipe, seed)
        distill(student, teacher, batches, loss, student_recipe, job, seed, tokens_per_step)
        job.save_model(student, tokenizer)
        return token_scores(student, held_out, settings.context)

    for arm, loss in losses.items():
        results = [
            # `args` binds the current values; a plain closure would see those of the last turn.
            run.once(f"{arm}-{seed}", lambda job, args=(loss, seed): train_student(job, *args))
            for seed in range(settings.seed, settings.seed + settings.seeds)
        ]
        for name in ("accuracy", "validation_loss"):
            add_mean(metrics, f"{arm}/{name}", [result[name] for result in results])
        metrics[f"{arm}/accuracy_ratio"] = metrics[f"{arm}/accuracy"] / metrics["accuracy"]
    student = AutoModelForCausalLM.from_pretrained(run.job(f"student-{settings.seed}").model_dir)
    folder = run.save_model(teacher, tokenizer)
    run.save_model(student, tokenizer, name="student")

    run.progress.say("exporting to ONNX, quantizing")
    # The exported files are only measured here; `llmpath export` makes lasting ones.
    with tempfile.TemporaryDirectory() as onnx_dir:
        forms, checks = build_forms(folder, Path(onnx_dir), settings.num_beams, student)
        run.progress.say("measuring every form")
        prompt = torch.from_numpy(held_out[None, :PROMPT_TOKENS])  # (1, PROMPT_TOKENS)
        rows = measure(forms, prompt, windows, settings.tokens, settings.repeats)
    metrics |= checks | _flat(rows)
    metrics["onnx/speedup"] = rows["ONNX"].tokens_per_second / rows[REFERENCE].tokens_per_second
    metrics["cache/speedup"] = rows[REFERENCE].tokens_per_second / rows["no cache"].tokens_per_second
    metrics["int8/perplexity_ratio"] = rows["int8"].perplexity / rows[REFERENCE].perplexity
    metrics["nf4/perplexity_ratio"] = rows["nf4"].perplexity / rows[REFERENCE].perplexity
    run.save_figure_data("table", {name: row.as_dict() for name, row in rows.items()})
    run.save_figure_data("beams", _search(teacher, tokenizer, texts.validation[0]))
    goals = [
        Goal("onnx/speedup", 2.0, higher_is_better=True),
        Goal("onnx/max_difference", 1e-4, higher_is_better=False),
        Goal("int8/perplexity_ratio", 1.01, higher_is_better=False),
        Goal("student/accuracy_ratio", 0.97, higher_is_better=True),
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
    """Trains a word tokenizer that puts the end token before a text rather than after it.

    A prompt thus looks like the beginning of a text, which the model can continue.
    """
    tokenizer = train_word_tokenizer(texts, vocab_size, longest=context)
    end = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{end} $A", pair=f"{end} $A {end} $B", special_tokens=[(end, tokenizer.bos_token_id)]
    )
    return tokenizer


def _stream(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> np.ndarray:
    """Joins all texts into a stream of ids, `(tokens,)`; the end token precedes each and ends the stream."""
    ids = tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([*(np.asarray(text, dtype=np.int64) for text in ids), [tokenizer.eos_token_id]])


def _windows(tokens: np.ndarray, context: int, most: int) -> Tensor:
    """Cuts a stream of tokens, `(tokens,)`, into at most `most` windows, `(rows, context)`.

    Raises:
        UserError: If the stream is shorter than a window.
    """
    rows = min(most, len(tokens) // context)
    if not rows:
        raise UserError(
            f"the validation text has {len(tokens)} tokens; a window has {context}: "
            f"--set context={len(tokens)}"
        )
    # (rows * context,) -> (rows, context); the copy makes the array writable, as PyTorch demands.
    return torch.from_numpy(tokens[: rows * context].reshape(rows, context).copy())


@torch.no_grad()
def token_scores(model: Any, tokens: np.ndarray, context: int) -> dict[str, float]:
    """Measures the loss per token, in nats, and the share of correct predictions over windows of `tokens`."""
    model.eval()
    rows = _windows(tokens, context, len(tokens))  # (rows, context)
    loss, right = 0.0, 0
    for batch in rows.split(64):
        # (batch, context - 1, vocabulary) -> (predictions, vocabulary); each token predicts the next one.
        logits = model(input_ids=batch, use_cache=False).logits[:, :-1].flatten(0, 1)
        targets = batch[:, 1:].flatten()  # (predictions,)
        loss += float(F.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(-1) == targets).sum())
    count = rows.shape[0] * (context - 1)  # nothing predicts the first token of a window
    return {"validation_loss": loss / count, "accuracy": right / count}


def _flat(rows: dict[str, Row]) -> dict[str, float]:
    """Flattens the table into metrics such as `onnx/tokens_per_second`."""
    return {
        f"{name.lower().replace(' ', '_')}/{what}": value
        for name, row in rows.items()
        for what, value in row.as_dict().items()
        if name != REFERENCE or what != "agreement"  # the reference always agrees with itself
    }


def _search(model: Any, tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, Any]:
    """Runs a beam search for the continuation of the first words of `text`."""
    # (1, length)
    ids = tokenizer(" ".join(text.split()[:TREE_WORDS]), return_tensors="pt")["input_ids"]
    beams = beam_search(model, ids, num_beams=TREE_BEAMS, max_new_tokens=TREE_STEPS, with_steps=True)
    prompt = tokenizer.decode(ids[0], skip_special_tokens=True)
    return {"prompt": prompt, "steps": beam_tree(beams, tokenizer)}
