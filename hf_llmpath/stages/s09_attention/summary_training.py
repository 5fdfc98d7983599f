"""Trains recurrent summarizers and compares the ROUGE of their summaries with baseline sentences."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ...data.batches.pairs import Pair, PairBatches, Pairs, padded
from ...data.batches.streams import IGNORED
from ...data.tokenizers.word_level import train_word_tokenizer
from ...metrics import rouge
from ...models.configuration_summarizer import LLMPathSummarizerConfig
from ...models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration
from ...runs import Job
from ...training.recipe import Recipe
from ...training.trainer import fit
from . import AttentionSettings

_LONG = 2.0  # maximum length of a summary as a multiple of the longest training summary
_BATCH = 64  # documents that are summarized or scored together


@dataclass(frozen=True)
class SummaryData:
    """Holds documents and summaries, the training split as token ids and the test split as text.

    Attributes:
        tokenizer: the tokenizer, trained on the training split; it cuts documents at `max_source` tokens.
        sources, targets: the token ids of the training split, one row for each summary of a document.
        test: the pairs on which models are measured.
        hidden_words: the share of the vocabulary that is hidden from each training pair (see `PairBatches`).
    """

    tokenizer: PreTrainedTokenizerBase
    sources: list[list[int]]
    targets: list[list[int]]
    test: list[Pair]
    hidden_words: float

    @classmethod
    def from_pairs(cls, pairs: Pairs, settings: AttentionSettings) -> "SummaryData":
        texts = [text for pair in pairs.train for text in (pair.document, *pair.summaries)]
        tokenizer = train_word_tokenizer(
            texts, settings.vocab_size, settings.tokens == "pieces", longest=settings.max_source
        )
        # A document with several summaries makes several rows.
        rows = [(pair.document, summary) for pair in pairs.train for summary in pair.summaries]
        documents, summaries = ([row[column] for row in rows] for column in (0, 1))
        sources = tokenizer(documents, truncation=True)["input_ids"]
        targets = tokenizer(summaries, truncation=True, max_length=settings.max_target)["input_ids"]
        return cls(tokenizer, sources, targets, pairs.test, settings.hidden_words)

    def config(self, **shape: Any) -> LLMPathSummarizerConfig:
        """Returns the configuration of a model for this vocabulary."""
        end = self.tokenizer.eos_token_id  # also starts the decoder: the tokenizer has no start token
        return LLMPathSummarizerConfig(
            vocab_size=len(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=end,
            **shape,
        )


def train_summarizer(
    data: SummaryData, config: LLMPathSummarizerConfig, recipe: Recipe, seed: int, num_beams: int, job: Job
) -> dict[str, Any]:
    """Trains a summarizer, saves it in `job`, and lets it summarize the test documents.

    Returns:
        A dictionary with `rouge1`, `rouge2`, `rougeL`, `exact_match`, `test_loss` (nats per token),
        `parameters`, `padding` (the share of padding among the source tokens of the training batches),
        `seconds` of training, and the `summaries`.
    """
    began = time.perf_counter()
    set_seed(seed)
    model = LLMPathSummarizerForConditionalGeneration(config)
    pad, unknown = data.tokenizer.pad_token_id, data.tokenizer.unk_token_id
    batches = PairBatches(
        data.sources, data.targets, recipe.batch_size, recipe.steps, pad, seed, unknown, data.hidden_words
    )
    fit(model, batches, recipe, job, seed, tokens_per_step=batches.tokens_per_step)
    seconds = time.perf_counter() - began
    # A limit ends the summaries of a model that does not predict the end token.
    longest = max(len(target) for target in data.targets)
    model.generation_config.update(max_length=int(_LONG * longest), num_beams=num_beams)
    job.save_model(model, data.tokenizer)
    summaries = summarize(model, data.tokenizer, [pair.document for pair in data.test])
    return {
        **score(summaries, data.test),
        "test_loss": pair_loss(model, data.tokenizer, data.test),
        "parameters": model.num_parameters(),
        "padding": batches.padding,
        "seconds": seconds,
        "summaries": summaries,
    }


def score(summaries: Sequence[str], pairs: Sequence[Pair]) -> dict[str, float]:
    """Computes `rouge1`, `rouge2`, `rougeL`, and `exact_match` against the best reference of each pair."""
    exact = [summary in pair.summaries for summary, pair in zip(summaries, pairs, strict=True)]
    return rouge(summaries, [pair.summaries for pair in pairs]) | {"exact_match": sum(exact) / len(exact)}


def lead_1(pairs: Sequence[Pair]) -> list[str]:
    """Returns the first sentence of each document, the usual baseline for news articles."""
    return [pair.sentences[0] for pair in pairs]


def random_sentence(pairs: Sequence[Pair], seed: int = 0) -> list[str]:
    """Draws one sentence of each document at random."""
    rng = random.Random(seed)
    return [rng.choice(pair.sentences) for pair in pairs]


@torch.no_grad()
def summarize(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    batch_size: int = _BATCH,
    **options: Any,
) -> list[str]:
    """Lets the model summarize each document and returns the summaries in the order of the documents.

    Args:
        model, tokenizer: the summarizer and its tokenizer.
        documents: the texts to summarize; texts of similar length are read together.
        batch_size: the number of documents read together.
        options: arguments of `generate()` such as `num_beams` and `do_sample`.
    """
    model.eval()
    summaries = [""] * len(documents)
    for rows, inputs in _batches(tokenizer, documents, batch_size):
        sequences = model.generate(**inputs, **options)  # (batch, written)
        for row, text in zip(rows, tokenizer.batch_decode(sequences, skip_special_tokens=True), strict=True):
            summaries[row] = text
    return summaries


@torch.no_grad()
def pair_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    batch_size: int = _BATCH,
) -> float:
    """Computes the mean negative log-likelihood per token, in nats, of the first summary of each document.

    The end token counts as well.
    """
    model.eval()
    targets = tokenizer([pair.summaries[0] for pair in pairs], truncation=True)["input_ids"]
    total, count = 0.0, 0
    for rows, inputs in _batches(tokenizer, [pair.document for pair in pairs], batch_size):
        # (batch, target)
        labels = torch.from_numpy(padded([targets[row] for row in rows], IGNORED)[0]).long()
        # (batch, target, vocabulary). A copying model returns log-probabilities here, which the softmax of
        # the cross-entropy leaves as they are.
        logits = model(**inputs, labels=labels, use_cache=False).logits
        total += F.cross_entropy(
            # (batch * target, vocabulary) and (batch * target,)
            logits.flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        ).item()
        count += int((labels != IGNORED).sum())
    return total / count


def _batches(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], batch_size: int
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Yields batches of documents, sorted by length: the row numbers and the inputs of the model."""
    ids = tokenizer(list(documents), truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        sources, lengths = padded([ids[row] for row in rows], tokenizer.pad_token_id)  # (batch, source)
        # (source,) < (batch, 1) -> (batch, source)
        mask = torch.arange(sources.shape[1]) < torch.from_numpy(lengths)[:, None]
        yield rows, {"input_ids": torch.from_numpy(sources).long(), "attention_mask": mask.long()}
