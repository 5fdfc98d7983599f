"""Sequence to sequence on the toy tasks: a Transformer that writes the answer character by character."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed

from ...data.algorithmic import LONGER, toy_pairs, toy_tokenizer
from ...data.batches.pairs import PairBatches
from ...models.configuration_transformer import LLMPathTransformerConfig
from ...models.modeling_transformer import LLMPathTransformerForConditionalGeneration
from ...runs import Run
from ...training.trainer import Recipe, fit

TEST_EXAMPLES = 500  # per task


def train_transducer(
    tasks: Sequence[str],
    shape: dict[str, Any],
    recipe: Recipe,
    run: Run,
    name: str,
    seed: int,
    examples: int = 20_000,
) -> dict[str, Any]:
    """Trains one model on all `tasks` and measures it on unseen answers.

    Args:
        tasks: keys of `TOY_TASKS`; the name of the task is the first token of a source.
        shape: arguments of `LLMPathTransformerConfig`.
        recipe, run, seed: see `fit`.
        name: of the part that keeps the result and the model.
        examples: training examples per task.

    Returns:
        `TASK/exact_match` on the test split, `TASK/exact_match_longer` on longer input than was ever seen
        in training, where the task has any, `parameters`, `seconds`, and `mistakes`: up to five `(source,
        answer, right answer)` per task.
    """
    job = run.job(name)
    if job.done:
        return job.result
    set_seed(seed)
    tokenizer = toy_tokenizer(tasks)
    special = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.bos_token_id,
    }
    model = LLMPathTransformerForConditionalGeneration(LLMPathTransformerConfig(**shape | special))
    tokenizer.model_max_length = model.config.max_position_embeddings
    pairs = [pair for task in tasks for pair in toy_pairs(task, "train", examples, seed)]
    sources, targets = (tokenizer([pair[side] for pair in pairs])["input_ids"] for side in (0, 1))
    batches = PairBatches(sources, targets, recipe.batch_size, recipe.steps, tokenizer.pad_token_id, seed)
    began = time.perf_counter()
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    result: dict[str, Any] = {
        "seconds": time.perf_counter() - began,
        "parameters": model.num_parameters(),
        "mistakes": {},
    }
    run.progress.say("writing the answers of the test")
    for task in tasks:
        for split, metric in (("test", "exact_match"), ("longer", "exact_match_longer")):
            if (task, split) == ("date", "longer"):
                continue
            asked = toy_pairs(task, split, TEST_EXAMPLES)
            answers = transduce(model, tokenizer, [source for source, _ in asked])
            wrong = [(s, a, t) for (s, t), a in zip(asked, answers, strict=True) if a != t]
            result[f"{task}/{metric}"] = 1 - len(wrong) / len(asked)
            result["mistakes"][f"{task}/{split}"] = wrong[:5]
    return job.finish(result, model, tokenizer)


@torch.no_grad()
def transduce(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sources: Sequence[str], batch_size: int = 250
) -> list[str]:
    """The model's answers to `sources`, by greedy decoding."""
    answers: list[str] = []
    for start in range(0, len(sources), batch_size):
        inputs = tokenizer(list(sources[start : start + batch_size]), return_tensors="pt", padding=True)
        output = model.generate(**inputs, max_new_tokens=LONGER[1] + 2, do_sample=False, num_beams=1)
        answers += tokenizer.batch_decode(output, skip_special_tokens=True)
    return answers
