"""The word tokenizer: one token per word or punctuation mark, as a `PreTrainedTokenizerFast`.

A token begins with `▁` where a space stands before it, and so does the first one of a text: a name is the same token at
the beginning of a summary and in the middle of a document, so it can be copied. Case, punctuation and spaces come back
from `decode(encode(text))`; a word outside the vocabulary becomes the unknown token.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .characters import END, PAD, UNKNOWN

# Every character is in exactly one piece: a word, a mark, or white space other than the space between two words.
_PIECES = Regex(r"▁?\w+|▁?[^\w▁]|▁")


def train_word_tokenizer(
    texts: Iterable[str], vocab_size: int = 30_000, min_frequency: int = 1, longest: int | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of the most frequent words of `texts`; every encoded text ends with the end token.

    Args:
        texts: what to take the words from.
        vocab_size: tokens at most, three special ones among them.
        min_frequency: rarer words are left out.
        longest: tokens after which `truncation=True` cuts a text (`model_max_length`).
    """
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False),
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = [PAD, UNKNOWN, END]
    tokenizer.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(
            vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special, show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, special.index(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=END,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **({"model_max_length": longest} if longest else {}),
    )


def unknown_words(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """The words of `text` that the tokenizer reads as the unknown token, in order of appearance, once each."""
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    unknown = tokenizer.unk_token_id
    pairs = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
    return list(dict.fromkeys(text[start:end].strip() for token, (start, end) in pairs if token == unknown))
