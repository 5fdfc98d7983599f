"""Trains recurrent summarizers and measures them: ROUGE of what they write, beside sentences of the
document itself.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ...data.batches.pairs import Pair, PairBatches, Pairs, padded
from ...data.batches.streams import IGNORED
from ...data.tokenizers.word_level import train_word_tokenizer
from ...models.configuration_summarizer import LLMPathSummarizerConfig
from ...models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration
from ...runs import Run
from ...training.trainer import Recipe, fit

_LONG = 2.0  # a summary may become this many times as long as the longest one of the training


@dataclass(frozen=True)
class SummaryData:
    """Pairs as token ids.

    Attributes:
        tokenizer: trained on the training split; cuts documents at `max_source` tokens.
        sources, targets: ids of the training split.
        test: what is measured on.
    """

    tokenizer: PreTrainedTokenizerBase
    sources: list[list[int]]
    targets: list[list[int]]
    test: list[Pair]

    @classmethod
    def from_pairs(
        cls, pairs: Pairs, vocab_size: int, pieces: bool, max_source: int, max_target: int
    ) -> "SummaryData":
        texts = [text for pair in pairs.train for text in (pair.document, *pair.summaries)]
        tokenizer = train_word_tokenizer(texts, vocab_size, pieces, longest=max_source)
        each = [(pair.document, summary) for pair in pairs.train for summary in pair.summaries]
        documents, summaries = ([row[column] for row in each] for column in (0, 1))
        sources = tokenizer(documents, truncation=True)["input_ids"]
        targets = tokenizer(summaries, truncation=True, max_length=max_target)["input_ids"]
        return cls(tokenizer, sources, targets, pairs.test)

    def config(self, **shape: Any) -> LLMPathSummarizerConfig:
        """Configuration of a model for this vocabulary."""
        end = self.tokenizer.eos_token_id
        return LLMPathSummarizerConfig(
            vocab_size=len(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=end,
            **shape,
        )


def train_summarizer(
    data: SummaryData,
    shape: dict[str, Any],
    recipe: Recipe,
    run: Run,
    name: str,
    seed: int,
    hidden_words: float,
    num_beams: int = 1,
) -> dict[str, Any]:
    """Trains the model `name` of `run`, or reads it back if this run has trained it already.

    Args:
        data: what to learn and to measure on.
        shape: arguments of `LLMPathSummarizerConfig`.
        hidden_words: share of the words that are hidden from each pair (`PairBatches`).
        num_beams: width of the beam when it writes the summaries that are measured.

    Returns:
        `rouge1`, `rouge2`, `rougeL`, `exact_match`, `test_loss` (nats per token), `parameters`, `seconds`
        of training, and the `summaries` it wrote; the model lies in `run.job(name).model_dir`.
    """
    job = run.job(name)
    if job.done:
        return job.result
    began = time.perf_counter()
    set_seed(seed)
    model = LLMPathSummarizerForConditionalGeneration(data.config(**shape))
    pad, unknown = data.tokenizer.pad_token_id, data.tokenizer.unk_token_id
    batches = PairBatches(
        data.sources, data.targets, recipe.batch_size, recipe.steps, pad, seed, unknown, hidden=hidden_words
    )
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    seconds = time.perf_counter() - began
    longest = max(len(target) for target in data.targets)
    model.generation_config.update(max_length=int(_LONG * longest), num_beams=num_beams)
    summaries = summarize(model, data.tokenizer, [pair.document for pair in data.test])
    result = {
        **score(summaries, data.test),
        "test_loss": pair_loss(model, data.tokenizer, data.test),
        "parameters": model.num_parameters(),
        "padding": batches.padding,
        "seconds": seconds,
        "summaries": summaries,
    }
    return job.finish(result, model, data.tokenizer)


def score(summaries: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
    """`rouge1`, `rouge2`, `rougeL` and `exact_match`; of several right summaries the best one counts."""
    from ...metrics import rouge

    exact = [summary in pair.summaries for summary, pair in zip(summaries, pairs, strict=True)]
    return rouge(summaries, [pair.summaries for pair in pairs]) | {"exact_match": sum(exact) / len(exact)}


def lead_1(pairs: Sequence[Pair]) -> list[str]:
    """The first sentence of each document: the baseline that news articles made famous."""
    return [pair.sentences[0] for pair in pairs]


def random_sentence(pairs: Sequence[Pair], seed: int = 0) -> list[str]:
    """Any sentence of each document."""
    rng = random.Random(seed)
    return [rng.choice(pair.sentences) for pair in pairs]


@torch.no_grad()
def summarize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    batch_size: int = 64,
    **options: Any,
) -> list[str]:
    """What the model writes about each document, documents of like length read together.

    Args:
        options: for `generate()`: `num_beams`, `do_sample`, ...
    """
    model.eval()
    ids = tokenizer(list(documents), truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    written: dict[int, str] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        sequences = model.generate(**_inputs([ids[row] for row in rows], tokenizer), **options)
        written |= zip(rows, tokenizer.batch_decode(sequences, skip_special_tokens=True), strict=True)
    return [written[row] for row in range(len(ids))]


@torch.no_grad()
def pair_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], batch_size: int = 64
) -> float:
    """Mean negative log-likelihood in nats per token of the first summary of each document, the end token
    counted.
    """
    model.eval()
    sources = tokenizer([pair.document for pair in pairs], truncation=True)["input_ids"]
    targets = tokenizer([pair.summaries[0] for pair in pairs], truncation=True)["input_ids"]
    order = sorted(range(len(pairs)), key=lambda row: len(sources[row]))
    total, count = 0.0, 0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        labels = torch.from_numpy(padded([targets[row] for row in rows], IGNORED)[0]).long()
        logits = model(
            **_inputs([sources[row] for row in rows], tokenizer), labels=labels, use_cache=False
        ).logits
        total += F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        ).item()
        count += int((labels != IGNORED).sum())
    return total / count


def _inputs(rows: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
    ids, lengths = padded(rows, tokenizer.pad_token_id)
    mask = torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]
    return {"input_ids": torch.from_numpy(ids).long(), "attention_mask": mask.long()}
