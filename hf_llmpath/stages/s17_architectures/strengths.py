"""Shows what only one of the three architectures can do by itself, and measures it on held-out texts.

A decoder continues a text, an encoder fills a blank, and an encoder-decoder restores spans of any length.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...data.batches.streams import IGNORED
from ...decoding.generation import sample
from ...decoding.sampling import Sampling
from ...errors import UserError
from ...models.layers_attention import eager_attention
from ...training.attention_probes import token_labels
from ...training.recipes.masked_language_model import fill_masks
from .objectives_compared import SharedTexts
from .span_corruption import SENTINEL, restore, sentinels_of

# Attention weights (layers, heads, rows, columns), the tokens of the rows, and the tokens of the columns
Map = tuple[np.ndarray, list[str], list[str]]

GAP = "___"  # marks where the encoder-decoder fills in words
SENTENCE = "The tea was lovely, but the room was not."
BLANKS = ("The cake was lovely, but the tea was [MASK].", "We walked to the [MASK] on a sunny morning.")
BEGINNINGS = ("On a sunny morning", "Although the soup was")
GAPS = (f"If only the {GAP} been good!", f"We had tea {GAP} near the mill. I found the cake {GAP}.")


def sentence_of(dataset: str, texts: Sequence[str]) -> str:
    """Returns a short text on which to show the attention masks."""
    if dataset == "world/reviews":
        return SENTENCE
    # The first ten words of the first text that has at least six, if any
    return " ".join(next((text for text in texts if len(text.split()) >= 6), texts[0]).split()[:10])


def half_of(text: str) -> str:
    """Returns the first half of a text's words, which stands for what a decoder has written so far."""
    words = text.split()
    return " ".join(words[: max(1, len(words) // 2)])


def prompts_of(dataset: str, texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Returns texts with a blank, beginnings, and texts with gaps, made from `texts` unless ours fit."""
    if dataset == "world/reviews":
        return BLANKS, BEGINNINGS, GAPS
    # A short text is repeated, because the slices below need at least seven words.
    rows = [text.split() for text in texts if len(text.split()) >= 8][:2] or [texts[0].split() * 8]
    return (
        tuple(" ".join([*row[:4], "[MASK]", *row[5:]]) for row in rows),
        tuple(" ".join(row[:3]) for row in rows),
        tuple(" ".join([*row[:2], GAP, *row[4:6], GAP, *row[7:]]) for row in rows),
    )


def examples_of(
    dataset: str,
    held_out: Sequence[str],
    models: Mapping[str, PreTrainedModel],
    texts: SharedTexts,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """Collects what each of the three models makes of two texts: filled blanks, continuations, gaps."""
    blanks, beginnings, gaps = prompts_of(dataset, held_out)
    tokenizer, reader = texts.tokenizer, texts.tokenizer_of("t5")
    # `reader` frames a text as T5 reads it: without [CLS], with an end token.
    restored = [(text, *fill_spans(models["t5"], reader, text)) for text in gaps]
    return {
        "fill": [
            {"text": text, "tokens": fill_masks(models["bert"], tokenizer, text, 5)[0]} for text in blanks
        ],
        "write": [
            {"prompt": text, "text": continue_text(models["gpt"], tokenizer, text, seed)}
            for text in beginnings
        ],
        "transform": [
            {"source": source, "text": text, "answer": answer} for source, text, answer in restored
        ],
    }


@torch.no_grad()
def masked_accuracy(model: PreTrainedModel, texts: SharedTexts, seed: int, batch_size: int = 64) -> float:
    """Returns the share of masked tokens in the held-out texts that the encoder predicts correctly."""
    size = min(batch_size, len(texts.held_out))
    batches = texts.batches("bert", texts.held_out, size, len(texts.held_out) // size, seed)
    correct, asked = 0, 0
    for start in range(0, len(batches), size):
        batch = batches.__getitems__(list(range(start, start + size)))
        labels = batch.pop("labels")  # (batch, length)
        chosen = labels != IGNORED  # (batch, length)
        # (batch, length, vocabulary) -> (batch, length) -> (masked tokens,)
        correct += int((model(**batch).logits.argmax(-1)[chosen] == labels[chosen]).sum())
        asked += int(chosen.sum())
    return correct / max(asked, 1)


@torch.no_grad()
def span_exact_match(model: PreTrainedModel, texts: SharedTexts, seed: int, rows: int = 192) -> float:
    """Returns the share of corrupted held-out texts that greedy decoding restores token for token.

    Only the first batches are measured, up to `rows` texts in all.
    """
    size = min(64, rows, len(texts.held_out))
    batches = texts.batches("t5", texts.held_out, size, max(1, min(rows, len(texts.held_out)) // size), seed)
    end, correct, asked = texts.tokenizer.sep_token_id, 0, 0
    for start in range(0, len(batches), size):
        batch = batches.__getitems__(list(range(start, start + size)))
        labels = batch.pop("labels")  # (batch, longest target)
        # (batch, 1 + written), start token included
        written = model.generate(**batch, max_new_tokens=labels.shape[1], do_sample=False, num_beams=1)
        for answer, label in zip(written[:, 1:].tolist(), labels.tolist(), strict=True):
            # Rows that ended before the others are padded; the label has an end token but no padding.
            answer = answer[: answer.index(end) + 1] if end in answer else answer
            correct += answer == [token for token in label if token != IGNORED]
            asked += 1
    return correct / asked


@torch.no_grad()
def fill_spans(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, gap: str = GAP
) -> tuple[str, str]:
    """Fills every `gap` of a text with as many words as the encoder-decoder likes.

    Returns:
        The text with its gaps filled, and what the model wrote, sentinels included.

    Raises:
        UserError: If the text is empty, has no gap, or has more gaps than there are sentinels.
    """
    if not text.strip():
        raise UserError(f"the text is empty; type a sentence with {gap} in it")
    sentinels, pieces = sentinels_of(tokenizer), text.split(gap)
    if len(pieces) < 2:
        raise UserError(f"no {gap} in '{text[:60]}'; put it where words are missing")
    # There is one gap less than there are pieces, and the target ends with one more sentinel.
    if len(pieces) > len(sentinels):
        raise UserError(f"{len(pieces) - 1} gaps; this model can tell {len(sentinels) - 1} apart")
    marked = pieces[0]
    for number, piece in enumerate(pieces[1:]):
        marked += SENTINEL.format(number) + piece
    inputs = tokenizer(marked, return_tensors="pt")  # (1, length) each
    # (1, written) -> (written,); 8 tokens per piece are ample for spans of 3 tokens on average.
    (answer_ids,) = model.generate(**inputs, max_new_tokens=8 * len(pieces), do_sample=False, num_beams=1)
    written = answer_ids.tolist()
    special = {tokenizer.pad_token_id, tokenizer.eos_token_id}
    ids = restore(inputs["input_ids"][0].tolist(), written, sentinels)
    answer = tokenizer.decode([token for token in written if token not in special])
    return tokenizer.decode([token for token in ids if token not in special]), answer


@torch.no_grad()
def continue_text(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, seed: int, temperature: float = 0.8
) -> str:
    """Continues a text with the decoder up to an end token or the end of the context."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    context = model.config.max_position_embeddings
    # (1, length): the end of a long text, with room for [CLS] and at least one new token
    prompt = torch.tensor([[tokenizer.cls_token_id, *ids[-(context - 2) :]]])
    written = sample(
        model,
        prompt,
        sampling=Sampling(temperature),
        max_new_tokens=context - prompt.shape[1],
        eos_token_id=tokenizer.sep_token_id,
        generator=torch.Generator().manual_seed(int(seed)),
    )
    return tokenizer.decode(written[0], skip_special_tokens=True)


@torch.no_grad()
def look(
    kind: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    target: str | None = None,
) -> dict[str, Map]:
    """Records the attention of one of the three models while it reads a text.

    Args:
        kind: `"gpt"`, `"bert"`, or `"t5"`.
        model, tokenizer: a model of that kind and its tokenizer.
        text: the text to read.
        target: for `t5`, the text that its decoder has written so far; None stands for its greedy answer.

    Returns:
        Name of the attention -> its weights, `(layers, heads, rows, columns)`, and the tokens of the rows and
        of the columns.

    Raises:
        UserError: If the text is empty.
    """
    if not text.strip():
        raise UserError("the text is empty; type a sentence")
    limit = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
    # T5's configuration has no limit, so the tokenizer's applies; 512 keeps the weights of a long text small.
    ids = tokenizer(text, truncation=True, max_length=min(limit, 512))["input_ids"]
    inputs, names = torch.tensor([ids]), token_labels(tokenizer, ids)  # inputs: (1, length)
    if kind != "t5":
        options = {"use_cache": False} if kind == "gpt" else {}
        with eager_attention(model):  # the fused kernels return no weights
            output = model(input_ids=inputs, output_attentions=True, **options)
        return {"decoder" if kind == "gpt" else "encoder": (_stacked(output.attentions), names, names)}
    if target is None:
        # (1, written), start token included; likewise below
        written = model.generate(inputs, max_new_tokens=16, do_sample=False, num_beams=1)
    else:
        written = torch.tensor([[model.config.decoder_start_token_id, *tokenizer(target)["input_ids"]]])
    with eager_attention(model):
        output = model(input_ids=inputs, decoder_input_ids=written, output_attentions=True, use_cache=False)
    answer = token_labels(tokenizer, written[0].tolist())
    return {
        "encoder": (_stacked(output.encoder_attentions), names, names),
        "decoder": (_stacked(output.decoder_attentions), answer, answer),
        "decoder to encoder": (_stacked(output.cross_attentions), answer, names),
    }


def mask_of(weights: np.ndarray) -> np.ndarray:
    """Returns which token can look at which, `(rows, columns)`: where any head of any layer has a weight."""
    return weights.max(axis=(0, 1)) > 0  # (layers, heads, rows, columns) -> (rows, columns)


def _stacked(attentions: Sequence[torch.Tensor]) -> np.ndarray:
    # layers x (1, heads, rows, columns) -> (layers, heads, rows, columns)
    return torch.stack([layer[0] for layer in attentions]).float().numpy()
