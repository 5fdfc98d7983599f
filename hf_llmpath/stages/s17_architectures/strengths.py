"""What only one of the three architectures can do by itself: a decoder goes on, an encoder fills a gap,
an encoder-decoder restores spans of any length. Each with a measure on held-out texts."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...data.batches.streams import IGNORED
from ...errors import UserError
from ...models.layers_attention import eager_attention
from ...training.attention_probes import token_labels
from .objectives_compared import Texts
from .span_corruption import SENTINEL, restore, sentinels_of

Map = tuple[
    np.ndarray, list[str], list[str]
]  # weights (layers, heads, rows, columns), names of the rows, of the columns


@torch.no_grad()
def masked_accuracy(model: PreTrainedModel, texts: Texts, seed: int, batch_size: int = 64) -> float:
    """Share of the masked tokens of the held-out texts that are the encoder's first guess."""
    size = min(batch_size, len(texts.held_out))
    batches = texts.batches("bert", texts.held_out, size, len(texts.held_out) // size, seed)
    right, asked = 0, 0
    for start in range(0, len(batches), size):
        batch = batches.__getitems__(list(range(start, start + size)))
        labels = batch.pop("labels")
        chosen = labels != IGNORED
        right += int((model(**batch).logits.argmax(-1)[chosen] == labels[chosen]).sum())
        asked += int(chosen.sum())
    return right / max(asked, 1)


@torch.no_grad()
def span_exact_match(model: PreTrainedModel, texts: Texts, seed: int, rows: int = 192) -> float:
    """Share of the held-out texts (the first batches of `rows` in all) that the encoder-decoder restores
    word for word from their corrupted form, by greedy decoding."""
    size = min(64, rows, len(texts.held_out))
    batches = texts.batches("t5", texts.held_out, size, max(1, min(rows, len(texts.held_out)) // size), seed)
    end, right, asked = texts.tokenizer.sep_token_id, 0, 0
    for start in range(0, len(batches), size):
        batch = batches.__getitems__(list(range(start, start + size)))
        labels = batch.pop("labels")
        written = model.generate(**batch, max_new_tokens=labels.shape[1], do_sample=False, num_beams=1)
        for answer, label in zip(written[:, 1:].tolist(), labels.tolist(), strict=True):
            answer = answer[: answer.index(end) + 1] if end in answer else answer
            right += answer == [token for token in label if token != IGNORED]
            asked += 1
    return right / asked


@torch.no_grad()
def fill_spans(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, gap: str = "___"
) -> tuple[str, str]:
    """The text with every `gap` filled by as many words as the encoder-decoder finds right, and what it
    wrote.

    Raises:
        UserError: no text, no gap, or more gaps than there are sentinels.
    """
    if not text.strip():
        raise UserError(f"the text is empty; type a sentence with {gap} in it")
    sentinels, pieces = sentinels_of(tokenizer), text.split(gap)
    if len(pieces) < 2:
        raise UserError(f"no {gap} in '{text[:60]}'; put it where words are missing")
    if len(pieces) > len(sentinels):
        raise UserError(f"{len(pieces) - 1} gaps; this model can tell {len(sentinels) - 1} apart")
    marked = pieces[0]
    for number, piece in enumerate(pieces[1:]):
        marked += SENTINEL.format(number) + piece
    inputs = tokenizer(marked, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=8 * len(pieces), do_sample=False, num_beams=1)[
        0
    ].tolist()
    special = {tokenizer.pad_token_id, tokenizer.eos_token_id}
    ids = restore(inputs["input_ids"][0].tolist(), written, sentinels)
    answer = tokenizer.decode([token for token in written if token not in special])
    return tokenizer.decode([token for token in ids if token not in special]), answer


@torch.no_grad()
def go_on(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, seed: int, temperature: float = 0.8
) -> str:
    """The text and what the decoder writes after it, up to its end token or the longest text that it can
    read.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    room = model.config.max_position_embeddings - 1
    inputs = torch.tensor([[tokenizer.cls_token_id, *ids[-(room - 1) :]]])
    generator = torch.Generator().manual_seed(int(seed))
    cache, read = None, inputs
    while inputs.shape[1] <= room:
        output = model(input_ids=read, cache=cache, use_cache=True)
        cache, logits = output.cache, output.logits[0, -1] / temperature
        read = torch.multinomial(logits.softmax(-1), 1, generator=generator).view(1, 1)
        if int(read) == tokenizer.sep_token_id:
            break
        inputs = torch.cat([inputs, read], dim=1)
    return tokenizer.decode(inputs[0], skip_special_tokens=True)


@torch.no_grad()
def look(
    kind: str,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    target: str | None = None,
) -> dict[str, Map]:
    """The attention of one of the three while it reads a text, as it really was: `name -> (weights, rows,
    columns)`.

    Args:
        kind: `"gpt"`, `"bert"` or `"t5"`.
        model, tokenizer: of that kind.
        text: what is read.
        target: for `t5`, what its decoder has written; its greedy answer if none.

    Raises:
        UserError: no text.
    """
    if not text.strip():
        raise UserError("the text is empty; type a sentence")
    limit = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
    ids = tokenizer(text, truncation=True, max_length=min(limit, 512))["input_ids"]
    inputs, names = torch.tensor([ids]), token_labels(tokenizer, ids)
    if kind != "t5":
        with eager_attention(model):
            found = model(
                input_ids=inputs, output_attentions=True, **({"use_cache": False} if kind == "gpt" else {})
            )
        return {"decoder" if kind == "gpt" else "encoder": (_stacked(found.attentions), names, names)}
    if target is None:
        written = model.generate(inputs, max_new_tokens=16, do_sample=False, num_beams=1)
    else:
        written = torch.tensor([[model.config.decoder_start_token_id, *tokenizer(target)["input_ids"]]])
    with eager_attention(model):
        found = model(input_ids=inputs, decoder_input_ids=written, output_attentions=True, use_cache=False)
    told = token_labels(tokenizer, written[0].tolist())
    return {
        "encoder": (_stacked(found.encoder_attentions), names, names),
        "decoder": (_stacked(found.decoder_attentions), told, told),
        "decoder to encoder": (_stacked(found.cross_attentions), told, names),
    }


def mask_of(weights: np.ndarray) -> np.ndarray:
    """Who could look at whom: the pairs `(rows, columns)` that got a weight in any head of any layer."""
    return weights.max(axis=(0, 1)) > 0


def _stacked(attentions: Sequence[torch.Tensor]) -> np.ndarray:
    return torch.stack([layer[0] for layer in attentions]).float().numpy()
