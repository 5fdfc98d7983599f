"""Trains subword tokenizers that AutoTokenizer can load: WordPiece and byte-level BPE.

    tokenizer = train_subwords(texts, "wordpiece", vocab_size=2000)
    tokenizer.save_pretrained("model")          # AutoTokenizer.from_pretrained("model")

Both frame a text as `[CLS] text [SEP]`, and a pair as `[CLS] first [SEP] second [SEP]`, where the second text
and the `[SEP]` after it have token type 1 (Devlin et al. 2018, section 3).
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SubwordKind = Literal["wordpiece", "bpe"]
CONTINUATION = "##"  # prefix of a WordPiece token that continues a word


def train_subwords(
    texts: Iterable[str],
    kind: SubwordKind = "wordpiece",
    vocab_size: int = 2000,
    lowercase: bool = True,
    max_length: int | None = None,
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer trained on `texts`.

    Both kinds start from single characters (or bytes) and merge pairs until the vocabulary is full. `"bpe"`
    merges bytes, so `decode(encode(text))` returns every Unicode text unchanged (Sennrich et al. 2016;
    Radford et al. 2019). `"wordpiece"` greedily cuts a word into the longest known pieces, of which all but
    the first begin with `##`, and a word with an unknown character becomes `[UNK]` (Wu et al. 2016,
    section 4).

    Args:
        texts: texts to train on.
        kind: `"wordpiece"` or `"bpe"`.
        vocab_size: maximum number of tokens, including special tokens.
        lowercase: whether WordPiece folds case and strips accents, as BERT's uncased models do.
        max_length: length of the model's longest input (`tokenizer.model_max_length`).

    Raises:
        ValueError: the kind is unknown, or the vocabulary is too small for the alphabet.
    """
    if kind == "wordpiece":  # trains in two passes, so an iterator must become a list
        tokenizer = _wordpiece(list(texts) if isinstance(texts, Iterator) else texts, vocab_size, lowercase)
    elif kind == "bpe":
        tokenizer = _byte_level_bpe(texts, vocab_size)
    else:
        raise ValueError(f"unknown kind of subword tokenizer '{kind}'; there are wordpiece and bpe")
    if tokenizer.get_vocab_size() > vocab_size:
        alphabet = tokenizer.get_vocab_size() - len(SPECIAL_TOKENS)
        raise ValueError(
            f"vocab_size ({vocab_size}) is too small: the {alphabet} characters of the texts and the "
            f"{len(SPECIAL_TOKENS)} special tokens need at least {tokenizer.get_vocab_size()}"
        )
    cls, sep = tokenizer.token_to_id(CLS), tokenizer.token_to_id(SEP)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(CLS, cls), (SEP, sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=CLS,
        sep_token=SEP,
        mask_token=AddedToken(MASK, lstrip=kind == "bpe", special=True, normalized=False),
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **({"model_max_length": max_length} if max_length else {}),
    )


def _wordpiece(texts: Iterable[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    # The trainer numbers the single characters that continue a word (##a) in the order of a hash table, which
    # differs from process to process, and breaks ties by these numbers. Passing these characters as special
    # tokens, in sorted order, makes the training repeatable.
    alphabet = _train_wordpiece(texts, 0, lowercase, []).get_vocab()
    continuations = sorted(token for token in alphabet if token.startswith(CONTINUATION) and len(token) == 3)
    trained = _train_wordpiece(texts, vocab_size, lowercase, continuations)
    # In a new tokenizer with the same vocabulary, those tokens are ordinary ones.
    return _new_wordpiece(lowercase, trained.get_vocab())


def _train_wordpiece(
    texts: Iterable[str], vocab_size: int, lowercase: bool, continuations: list[str]
) -> Tokenizer:
    tokenizer = _new_wordpiece(lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _new_wordpiece(lowercase: bool, vocabulary: dict[str, int] | None = None) -> Tokenizer:
    model = models.WordPiece(vocabulary or {}, unk_token=UNKNOWN, continuing_subword_prefix=CONTINUATION)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(CONTINUATION)
    return tokenizer


def _byte_level_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        # A byte-level token includes the space before its word, so the mask must include it too (lstrip).
        special_tokens=[AddedToken(token, special=True, lstrip=token == MASK) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
