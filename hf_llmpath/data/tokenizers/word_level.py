"""Makes the summarizer's tokenizer: words and punctuation marks, or pieces of words.

The tokenizer is a `PreTrainedTokenizerFast`. A word is the same token everywhere, at the beginning of a
summary, within a document, or after a quotation mark, so the model can copy it. A joiner marks missing
spaces, as in OpenNMT's tokenizer: `￭,` attaches to the text before it, and `(￭` to the text after it.
`decode(encode(text))` preserves case and punctuation, and turns any white space into one space.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .characters import END, PAD, UNKNOWN

SPECIAL = [PAD, UNKNOWN, END]
JOINER = "￭"
LETTERS = r"\w+(?:['’]\w+)*"  # a word with its apostrophes, but without other punctuation
_MARK = rf"[^\w\s{JOINER}]"


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Returns a tokenizer for given lowercase words, which drops punctuation and all else between words.

    Args:
        words: the vocabulary, where a word's index is its id; the first two are the padding and the unknown
            word.
    """
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(LETTERS), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def train_word_tokenizer(
    texts: Iterable[str], vocab_size: int = 30_000, pieces: bool = False, longest: int | None = None
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer trained on `texts`; every encoded text ends with the end token.

    Args:
        texts: texts that the words come from.
        vocab_size: maximum number of tokens, including three special tokens.
        pieces: whether words are spelled in the pieces that byte pair encoding finds (Sennrich et al. 2016;
            here with characters as units), so that a rare word can be read and copied piece by piece.
            Otherwise, the most frequent words are the vocabulary, and any other word becomes the unknown
            token.
        longest: number of tokens after which `truncation=True` cuts a text (`model_max_length`).
    """
    options = {"vocab_size": vocab_size, "special_tokens": SPECIAL, "show_progress": False}
    if pieces:
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, continuing_subword_prefix=JOINER))
        trainer = trainers.BpeTrainer(continuing_subword_prefix=JOINER, **options)
    else:
        tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
        trainer = trainers.WordLevelTrainer(**options)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            # A joiner before a mark that follows anything but a space, and between a mark and a word.
            normalizers.Replace(Regex(rf"(?<=\S)(?={_MARK})"), JOINER),
            normalizers.Replace(Regex(rf"(?<={_MARK})(?=\w)"), JOINER),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(rf"{JOINER}?{_MARK}(?:{JOINER}(?=\w))?|\w+"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=JOINER, cleanup=False),
            decoders.Fuse(),
            decoders.Replace(f"{JOINER} ", ""),
            decoders.Replace(JOINER, ""),  # a joiner with nothing to join, which a model may generate
        ]
    )
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


def token_texts(tokens: Sequence[str]) -> list[str]:
    """Returns what each token of this tokenizer adds to the text, including the space before it."""
    joined = [True, *(token.endswith(JOINER) for token in tokens)]
    return [
        ("" if glued or token.startswith(JOINER) else " ") + token.removeprefix(JOINER).removesuffix(JOINER)
        for token, glued in zip(tokens, joined, strict=False)
    ]


def read_texts(tokenizer: PreTrainedTokenizerFast, text: str, truncation: bool = False) -> list[str]:
    """Returns the piece of `text` that each token stands for, including the space before it.

    For an unknown token, the piece is the word itself; for the end token, it is an empty string.
    """
    encoding = tokenizer(text, truncation=truncation, return_offsets_mapping=True, verbose=False)
    pieces = []
    for token, (start, end) in zip(encoding.tokens(), encoding["offset_mapping"], strict=True):
        if token == tokenizer.unk_token:
            # If a joiner attaches a mark to a word, the mark's offsets include the word's last letter.
            piece = text[start:end] if text[end - 1].isalnum() else text[end - 1]
        else:
            piece = "" if token == tokenizer.eos_token else token.removeprefix(JOINER).removesuffix(JOINER)
        before = end - len(piece)
        pieces.append(" " + piece if piece and before and text[before - 1].isspace() else piece)
    return pieces


def unknown_words(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """Returns the words (or characters) of `text` that become the unknown token, once each, in order."""
    ids = tokenizer(text, verbose=False)["input_ids"]
    pairs = zip(ids, read_texts(tokenizer, text), strict=True)
    return list(dict.fromkeys(piece.strip() for token, piece in pairs if token == tokenizer.unk_token_id))
