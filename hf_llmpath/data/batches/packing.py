"""Tokenizes documents once and packs them into blocks of equal length, without padding, using `datasets`.

    blocks = packed(load_dataset("text", data_files="big.txt", split="train", streaming=True), tokenizer, 128)

An ordinary data set is tokenized and packed once. Later calls read it from the cache on disk, which
identifies it by a fingerprint of data, tokenizer, and block size. A streaming data set is packed as it is
read, so a file may be larger than memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from ..tokenizers.subwords import CLS, SEP

AnyDataset = TypeVar("AnyDataset", datasets.Dataset, datasets.IterableDataset)
_BATCH = 1000  # number of documents tokenized at once, which is all that a stream holds in memory


def pack_blocks(
    documents: Iterable[Sequence[int]], block_size: int, cls: int, sep: int
) -> Iterator[np.ndarray]:
    """Yields full blocks `(block_size,)` of the documents in order: `[CLS] ... [SEP]`.

    A `[SEP]` also separates two documents. Documents are cut where a block ends (Liu et al. 2019, section
    4.2, "FULL-SENTENCES"), and tokens that do not fill the last block are left out. Only one document and one
    block are held in memory at a time.

    Args:
        documents: token ids without special tokens.
        block_size: number of tokens per block, including special ones; at least 3.
        cls, sep: ids of the special tokens.

    Raises:
        ValueError: a block is too short to hold a token.
    """
    if block_size < 3:
        raise ValueError(f"block_size ({block_size}) must be at least 3: [CLS], a token, [SEP]")
    inside = block_size - 2  # without [CLS] and [SEP]
    waiting: list[int] = []  # tokens that do not fill a block yet
    for document in documents:
        if waiting and len(document):  # an empty document must not add a second separator
            waiting.append(sep)
        waiting.extend(document)
        full = len(waiting) // inside
        for start in range(0, full * inside, inside):
            yield np.array([cls, *waiting[start : start + inside], sep], dtype=np.int32)
        del waiting[: full * inside]


def packed(
    dataset: AnyDataset,
    tokenizer: PreTrainedTokenizerBase,
    block_size: int,
    text_column: str = "text",
    num_proc: int | None = None,
) -> AnyDataset:
    """Packs a data set of documents into a data set with `input_ids` of `block_size` tokens each.

    Args:
        dataset: a `datasets.Dataset`, cached on disk, or a `datasets.IterableDataset`, packed as it is read.
        tokenizer: tokenizer with `[CLS]` and `[SEP]`.
        block_size: see `pack_blocks`.
        text_column: column that holds the text.
        num_proc: number of processes that tokenize an ordinary data set.
    """
    tokenize = partial(_tokenize, tokenizer=tokenizer, text_column=text_column)
    special = {"cls": tokenizer.convert_tokens_to_ids(CLS), "sep": tokenizer.convert_tokens_to_ids(SEP)}
    options: dict[str, Any] = {"batched": True, "batch_size": _BATCH, "remove_columns": dataset.column_names}
    if isinstance(dataset, datasets.IterableDataset):
        documents = dataset.map(tokenize, **options)
        return datasets.IterableDataset.from_generator(
            _blocks, gen_kwargs={"documents": documents, "block_size": block_size, **special}
        )
    documents = dataset.map(tokenize, num_proc=num_proc, **options)
    return datasets.Dataset.from_generator(
        _blocks,
        gen_kwargs={"documents": documents, "block_size": block_size, **special},
        features=datasets.Features({"input_ids": datasets.List(datasets.Value("int32"), length=block_size)}),
    )


def _tokenize(
    batch: dict[str, list[Any]], tokenizer: PreTrainedTokenizerBase, text_column: str
) -> dict[str, Any]:
    texts = [text or "" for text in batch[text_column]]  # a missing text is None
    return {"input_ids": tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]}


def _blocks(
    documents: Iterable[dict[str, Any]], block_size: int, cls: int, sep: int
) -> Iterator[dict[str, Any]]:
    rows = (row["input_ids"] for row in documents)
    for block in pack_blocks(rows, block_size, cls, sep):
        yield {"input_ids": block}
