"""The character tokenizer: one token per character, as a `PreTrainedTokenizerFast`.

A character that the training text did not have is spelled in bytes (`<0xE2><0x82><0xAC>` for the euro
sign), so every Unicode text comes back from `decode(encode(text))` unchanged. With `byte_fallback=False`
the vocabulary is the characters alone, and any other one becomes the unknown token.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|endoftext|>"


def train_character_tokenizer(texts: Iterable[str], byte_fallback: bool = True) -> PreTrainedTokenizerFast:
    """The tokenizer whose vocabulary is the characters of `texts`, in code point order, after three
    special tokens.

    Args:
        texts: what to take the characters from.
        byte_fallback: spell unknown characters in bytes (256 more tokens) instead of one unknown token.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    tokens = [PAD, UNKNOWN, END, *sorted(counts)]
    if byte_fallback:
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [], unk_token=UNKNOWN, byte_fallback=byte_fallback, fuse_unk=False)
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=END,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def unknown_characters(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """The characters of `text` that the vocabulary lacks, in order of appearance, once each."""
    known = tokenizer.get_vocab()
    return [character for character in dict.fromkeys(text) if character not in known]


def encode_characters(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[np.ndarray]:
    """Token ids of every text as int64 arrays: what `tokenizer.encode` gives, by one table look-up for all.

    Only for texts whose characters are all in the vocabulary, or a tokenizer without byte fallback.
    """
    points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    distinct, places = np.unique(points, return_inverse=True)
    vocabulary = tokenizer.get_vocab()
    table = np.array(
        [vocabulary.get(chr(point), tokenizer.unk_token_id) for point in distinct], dtype=np.int64
    )
    ids = table[places] if len(table) else np.zeros(0, dtype=np.int64)
    return np.split(ids, np.cumsum([len(text) for text in texts])[:-1])
