"""Makes the character tokenizer: one token per character, as a `PreTrainedTokenizerFast`.

A character that is not in the training text is spelled in bytes (`<0xE2><0x82><0xAC>` for the euro sign), so
`decode(encode(text))` returns every Unicode text unchanged. With `byte_fallback=False`, the vocabulary
contains only the characters, and any other character becomes the unknown token.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unk|>", "<|endoftext|>"


def train_character_tokenizer(texts: Iterable[str], byte_fallback: bool = True) -> PreTrainedTokenizerFast:
    """Returns a tokenizer for the characters of `texts`, in code point order, after three special tokens.

    Args:
        texts: texts that the characters come from.
        byte_fallback: whether unknown characters are spelled in bytes (256 more tokens) instead of becoming
            the unknown token.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    tokens = [PAD, UNKNOWN, END, *sorted(counts)]
    if byte_fallback:
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    # BPE without merges splits a text into characters, and it is the model that supports byte fallback.
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
    """Returns the characters of `text` that the vocabulary lacks, once each, in order of appearance."""
    known = tokenizer.get_vocab()
    return [character for character in dict.fromkeys(text) if character not in known]


def encode_characters(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[np.ndarray]:
    """Returns the token ids of every text, int64, as `tokenizer.encode` would, but with one table lookup.

    The function is only for texts whose characters are all in the vocabulary, or for a tokenizer without byte
    fallback.
    """
    # UTF-32 has four bytes per character, so the code points are one array: (characters of all texts,).
    points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    distinct, places = np.unique(points, return_inverse=True)  # (distinct,) and (characters of all texts,)
    vocabulary = tokenizer.get_vocab()
    table = np.array(
        [vocabulary.get(chr(point), tokenizer.unk_token_id) for point in distinct], dtype=np.int64
    )
    ids = table[places] if len(table) else np.zeros(0, dtype=np.int64)
    return np.split(ids, np.cumsum([len(text) for text in texts])[:-1])  # one array (characters,) per text
