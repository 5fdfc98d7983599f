"""Texts that stay on disk are the texts that would be in memory, whatever they came from, and are not in
memory.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from hf_llmpath.data.batches.token_rows import TokenRows
from hf_llmpath.data.sources import load_texts
from hf_llmpath.data.stored_texts import StoredTexts, Together
from hf_llmpath.errors import UserError
from hf_llmpath.training.recipes.masked_language_model import MaskedTexts

ROWS = [f"The baker of place {place} saw\u2028a kite, {'very ' * (place % 7)}red." for place in range(40)]


def written(tmp_path, form):
    path = tmp_path / f"texts.{form}"
    if form == "txt":
        lines = "\ufeff" + "\r\n\r\n".join(ROWS) + "\n \x0c \n"
        path.write_bytes(lines.encode())
    elif form == "jsonl":
        rows = [{"text": text} for text in (*ROWS[:5], "", *ROWS[5:], None)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path = tmp_path
        (path / "train.txt").write_text("\n".join(ROWS[:30]))
        (path / "validation.csv").write_text(
            "n,sentence\n" + "".join(f'{n},"{ROWS[n]}"\n' for n in range(30, 40))
        )
    return path


@pytest.mark.parametrize("form", ["txt", "jsonl", "folder"])
def test_they_are_the_texts_that_are_read_into_memory(tmp_path, form):
    path = written(tmp_path, form)
    stored, read = (load_texts(str(path), "line", stream=stream) for stream in (True, False))
    for split in ("train", "validation"):
        assert isinstance(getattr(stored, split), StoredTexts) and isinstance(getattr(read, split), list)
        assert list(getattr(stored, split)) == getattr(read, split)
    assert stored.provenance == read.provenance
    assert stored.train[-1] == read.train[-1] and list(stored.train[2:5]) == read.train[2:5]
    with pytest.raises(IndexError):
        stored.train[len(stored.train)]


def test_a_changed_file_is_read_anew(tmp_path):
    path = written(tmp_path, "txt")
    assert sum(map(len, StoredTexts.of_lines(path))) > 0
    path.write_text("One.\nTwo.\n")
    assert list(StoredTexts.of_lines(path)) == ["One.", "Two."]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"good\n\xff\xfe bad\n", r"is not UTF-8 \(byte 5\)"),
        (b" \n\n", "is empty"),
        (b"one\n", "has 1 text; at least 2"),
    ],
)
def test_a_file_that_is_no_text_is_told_as_without_streaming(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    for stream in (True, False):
        with pytest.raises(UserError, match=message):
            load_texts(str(path), "line", stream=stream)


def test_a_column_of_numbers_is_told(tmp_path):
    (tmp_path / "n.jsonl").write_text('{"text": 1}\n{"text": 2}\n')
    with pytest.raises(UserError, match="holds int, not text"):
        load_texts(str(tmp_path / "n.jsonl"), stream=True)


def test_together_can_be_read_again():
    both = Together(["a"], ("b", "c"))
    assert list(both) == list(both) == ["a", "b", "c"]


def test_rows_in_a_file_are_rows_in_memory(tmp_path):
    rows = [[1, 2, 3], [], [4], range(5, 70)]
    kept, read = TokenRows.in_file(iter(rows), tmp_path / "rows.bin"), TokenRows(rows)
    assert isinstance(kept.tokens, np.memmap)
    assert kept.tokens.tolist() == read.tokens.tolist() and kept.lengths.tolist() == read.lengths.tolist()
    index = np.array([3, 0, 1])
    assert all((a == b).all() for a, b in zip(kept.padded(index, 0), read.padded(index, 0), strict=True))
    assert len(TokenRows.in_file([], tmp_path / "none.bin")) == 0


def test_a_stored_corpus_gives_the_tokens_of_one_in_memory(tmp_path):
    corpus = [text.replace("kite", "<unk>") for text in ROWS]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(text.replace("\u2028", " ") for text in corpus))
    stored = StoredTexts.of_lines(path)
    options = {"vocab_size": 90, "context": 24}
    kept = MaskedTexts.from_texts(ROWS[:5], ROWS[5:9], stored, folder=tmp_path, **options)
    read = MaskedTexts.from_texts(ROWS[:5], ROWS[5:9], list(stored), **options)
    assert (
        isinstance(kept.train.tokens, np.memmap) and kept.tokenizer.get_vocab() == read.tokenizer.get_vocab()
    )
    assert kept.train.tokens.tolist() == read.train.tokens.tolist()
    assert kept.tokenizer.unk_token_id in kept.train.tokens


GROWTH = """
import sys
from pathlib import Path
from hf_llmpath.data.sources import load_texts
from hf_llmpath.stages.s12_embeddings.word_corpus import Vocabulary, WordCorpus
import datasets

def own():  # kilobytes that no file backs
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

file, scratch = sys.argv[1], Path(sys.argv[2])
load_texts(sys.argv[3], "line", stream=True)  # what the libraries need once
before, most = own(), 0
texts = load_texts(file, "line", stream=sys.argv[4] == "stream")
most = max(most, own())
vocabulary = Vocabulary.of(texts.train, 5)
most = max(most, own())
WordCorpus.write(texts.train, vocabulary, scratch, 2)
print(max(most, own()) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_text(tmp_path):
    """60 MB of text: held in memory it takes more than its size, streamed a fraction."""
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    small.write_text("\n".join(ROWS))
    line = "the baker saw a kite and the miller had a red hat " * 12
    large.write_text("\n".join(f"{line}{place}" for place in range(100_000)))
    grown = {}
    for how in ("stream", "memory"):
        command = [sys.executable, "-c", GROWTH, str(large), str(tmp_path / "words.bin"), str(small), how]
        grown[how] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024
    assert grown["memory"] > 55
    assert grown["stream"] < 25
