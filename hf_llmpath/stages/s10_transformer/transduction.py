"""Trains a sequence-to-sequence Transformer on the toy tasks; it writes an answer character by character."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed

from ...data.algorithmic import LONGER, toy_pairs, toy_tokenizer
from ...data.batches.pairs import PairBatches
from ...models.configuration_transformer import LLMPathTransformerConfig
from ...models.modeling_transformer import LLMPathTransformerForConditionalGeneration
from ...runs import Job
from ...training.trainer import fit
from . import TransformerSettings

TEST_EXAMPLES = 500  # per task and split
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_attention_heads",
    "position_embedding_type",
    "norm_first",
)


def train_transducer(
    settings: TransformerSettings, changes: dict[str, Any], seed: int, job: Job
) -> dict[str, Any]:
    """Trains one encoder-decoder on all tasks, saves it in `job`, and measures it on unseen answers.

    Args:
        settings: the settings of the stage.
        changes: the entries of the configuration that differ from the settings.
        seed: the seed of the weights, the training examples, and their order.
        job: the folder for the model and its checkpoints.

    Returns:
        A dictionary with `TASK/exact_match` on the test split; `TASK/exact_match_longer` on input longer than
        any in training, for tasks that have such input; `parameters`; `seconds`; and `mistakes`: up to five
        `(source, answer, right answer)` for each task and split.
    """
    set_seed(seed)
    tokenizer = toy_tokenizer(settings.tasks)  # the name of the task is the first token of a source
    config = LLMPathTransformerConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,  # more than any source or answer of the toy tasks needs
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
        **{name: getattr(settings, name) for name in SIZES} | changes,
    )
    tokenizer.model_max_length = config.max_position_embeddings
    model = LLMPathTransformerForConditionalGeneration(config)
    pairs = [pair for task in settings.tasks for pair in toy_pairs(task, "train", settings.examples, seed)]
    sources, targets = (tokenizer([pair[side] for pair in pairs])["input_ids"] for side in (0, 1))
    recipe = settings.rewriting
    batches = PairBatches(sources, targets, recipe.batch_size, recipe.steps, tokenizer.pad_token_id, seed)
    began = time.perf_counter()
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    seconds = time.perf_counter() - began
    job.save_model(model, tokenizer)
    job.progress.say("writing the answers of the test")
    result: dict[str, Any] = {"seconds": seconds, "parameters": model.num_parameters(), "mistakes": {}}
    for task in settings.tasks:
        for split, metric in (("test", "exact_match"), ("longer", "exact_match_longer")):
            if (task, split) == ("date", "longer"):  # there are no longer dates
                continue
            examples = toy_pairs(task, split, TEST_EXAMPLES)  # the same ones for every seed
            answers = transduce(model, tokenizer, [source for source, _ in examples])
            mistakes = [
                (source, answer, right)
                for (source, right), answer in zip(examples, answers, strict=True)
                if answer != right
            ]
            result[f"{task}/{metric}"] = 1 - len(mistakes) / len(examples)
            result["mistakes"][f"{task}/{split}"] = mistakes[:5]
    return result


@torch.no_grad()
def transduce(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, sources: Sequence[str], batch_size: int = 250
) -> list[str]:
    """Returns the model's answers to `sources`, by greedy decoding."""
    answers: list[str] = []
    for start in range(0, len(sources), batch_size):
        # (batch, longest source), padded
        inputs = tokenizer(list(sources[start : start + batch_size]), return_tensors="pt", padding=True)
        # (batch, written). The limit leaves room for the longest answer, its end token, and one token more.
        output = model.generate(**inputs, max_new_tokens=LONGER[1] + 2, do_sample=False, num_beams=1)
        answers += tokenizer.batch_decode(output, skip_special_tokens=True)
    return answers
