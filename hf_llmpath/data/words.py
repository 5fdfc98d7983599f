"""The tokenizer of the summarizer: words and punctuation marks, or pieces of words, as a `PreTrainedTokenizerFast`.

A token begins with `▁` where a space stands before it, and so does the first one of a text: a name is the same token at
the beginning of a summary and in the middle of a document, so it can be copied. Case and punctuation come back from
`decode(encode(text))`; white space counts as one space.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .characters import END, PAD, UNKNOWN

SPECIAL = [PAD, UNKNOWN, END]
# Every character is in exactly one piece: a word or a mark, each with the space before it.
_PIECES = Regex(r"▁?\w+|▁?[^\w▁]|▁")


def train_word_tokenizer(
    texts: Iterable[str], vocab_size: int = 30_000, pieces: bool = False, longest: int | None = None
) -> PreTrainedTokenizerFast:
    """A tokenizer trained on `texts`; every encoded text ends with the end token.

    Args:
        texts: what to take the words from.
        vocab_size: tokens at most, three special ones among them.
        pieces: words are spelled in the pieces that byte pair encoding finds (Sennrich et al. 2016; here of characters),
            so that a rare word can be read and copied piece by piece. Else the most frequent words are the vocabulary, and
            any other one becomes the unknown token.
        longest: tokens after which `truncation=True` cuts a text (`model_max_length`).
    """
    options = {"vocab_size": vocab_size, "special_tokens": SPECIAL, "show_progress": False}
    if pieces:
        tokenizer, trainer = Tokenizer(models.BPE(unk_token=UNKNOWN)), trainers.BpeTrainer(**options)
    else:
        tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
        trainer = trainers.WordLevelTrainer(**options)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False),
            pre_tokenizers.Split(_PIECES, behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, SPECIAL.index(END))]
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
    """The words (or characters) of `text` that are read as the unknown token, in order of appearance, once each."""
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    pairs = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
    return list(
        dict.fromkeys(text[start:end].strip() for token, (start, end) in pairs if token == tokenizer.unk_token_id)
    )
