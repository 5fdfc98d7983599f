"""`--dataset`: every kind of source is read whole, named truly, and refused in one line where it cannot
be read.
"""

import json
import random
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_llmpath.data.sources import EMBEDDED, load_texts
from hf_llmpath.errors import UserError
from hf_llmpath.world import DEFAULT_SIZES, generate

ROWS = [f'row {number}, with "quotes" and ünïcode' for number in range(20)]


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def table(path: Path, rows: list[str] = ROWS, column: str = "text") -> str:
    """A table file with a text column among others, in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = datasets.Dataset.from_dict({"id": list(range(len(rows))), column: rows})
    match path.suffix:
        case ".csv":
            found.to_csv(path)
        case ".tsv":
            found.to_csv(path, sep="\t")
        case ".parquet":
            found.to_parquet(path)
        case _:
            found.to_json(path, force_ascii=False)
    return str(path)


def refused(dataset: str, **options: str) -> str:
    """The one line in which `load_texts` refuses."""
    with pytest.raises(UserError) as error:
        load_texts(dataset, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_text_file_as_one_document_is_split_in_order(tmp_path):
    text = "".join(f"line {number}\n" for number in range(100))
    texts = load_texts(write(tmp_path / "a.txt", text))
    assert texts.train[0] + texts.validation[0] == text
    assert len(texts.train[0]) == int(0.9 * len(text))


def test_a_text_file_by_line_keeps_every_line_once(tmp_path):
    lines = [f"line {number}" for number in range(100)]
    texts = load_texts(write(tmp_path / "a.txt", "\n\n".join(lines) + "\n"), sample_by="line")
    assert sorted(texts.train + texts.validation) == sorted(lines)
    assert len(texts.validation) == 10
    assert texts.train != sorted(texts.train)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_text_is_read_whole(tmp_path_factory, text):
    path = write(tmp_path_factory.mktemp("any") / "a.txt", text)
    texts = load_texts(path)
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n")
    assert texts.train[0] + texts.validation[0] == expected


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_a_table_is_read_whole(tmp_path, name):
    texts = load_texts(table(tmp_path / name))
    assert sorted(texts.train + texts.validation) == sorted(ROWS)
    assert len(texts.validation) == 2


@pytest.mark.parametrize("column", ["content", "story", "sentence", "document", "article", "dialogue"])
def test_a_text_column_is_found_by_its_usual_names(tmp_path, column):
    assert len(load_texts(table(tmp_path / "a.csv", column=column)).train) == 18


def test_a_text_column_can_be_named(tmp_path):
    path = write(
        tmp_path / "a.jsonl", "".join(json.dumps({"text": "no", "tale": row}) + "\n" for row in ROWS)
    )
    assert "no" not in load_texts(path, text_column="tale").train


@pytest.mark.parametrize("held_out", ["validation", "valid", "val", "dev", "test"])
def test_a_folder_with_splits_is_read_as_they_are(tmp_path, held_out):
    write(tmp_path / "d" / "train.txt", "one\ntwo\n")
    write(tmp_path / "d" / f"{held_out}.txt", "three\n")
    texts = load_texts(str(tmp_path / "d"), sample_by="line")
    assert (texts.train, texts.validation) == (["one", "two"], ["three"])


def test_the_validation_split_comes_before_the_test_split(tmp_path):
    for split in ("train", "test", "validation"):
        table(tmp_path / "d" / f"{split}.parquet", [f"{split} {number}" for number in range(4)])
    texts = load_texts(str(tmp_path / "d"))
    assert texts.train[0] == "train 0" and texts.validation[0] == "validation 0"


def test_hub_file_names_with_shards_are_splits(tmp_path):
    table(tmp_path / "d" / "train-00000-of-00001.parquet", ["a", "b"])
    table(tmp_path / "d" / "validation-00000-of-00001.parquet", ["c"])
    texts = load_texts(str(tmp_path / "d"))
    assert (texts.train, texts.validation) == (["a", "b"], ["c"])


def test_a_folder_with_one_file_or_with_train_alone_is_split(tmp_path):
    for name in ("names.csv", "train.csv"):
        table(tmp_path / name[0] / name)
        assert len(load_texts(str(tmp_path / name[0])).validation) == 2


def test_the_embedded_world(monkeypatch):
    monkeypatch.setitem(DEFAULT_SIZES, "stories", {"train": 30, "validation": 5, "test": 5})
    texts = load_texts("world/stories")
    assert texts.train == [row["text"] for row in generate("stories", "train")]
    assert texts.validation == [row["text"] for row in generate("stories", "validation")]
    assert load_texts("world") == texts
    provenance = texts.provenance
    assert provenance["name"] == provenance["source"] == "world/stories"
    assert provenance["sizes"]["train_texts"] == len(texts.train)
    assert provenance["sizes"]["validation_characters"] == sum(map(len, texts.validation))


def test_the_fingerprint_is_of_the_texts_not_of_the_place(tmp_path):
    one, moved, other = (
        load_texts(table(tmp_path / folder / "a.csv", rows)).fingerprint
        for folder, rows in (("x", ROWS), ("y", ROWS), ("z", [*ROWS[:-1], "another"]))
    )
    assert one == moved != other
    assert len(one) == 16


def test_the_fingerprint_does_not_follow_the_global_seed(tmp_path):
    path = table(tmp_path / "a.csv")
    random.seed(1)
    before = load_texts(path)
    random.seed(2)
    assert load_texts(path) == before


@pytest.mark.parametrize(
    "file, sample_by, name, texts",
    [
        ("tiny_shakespeare/input.txt", "document", "tiny_shakespeare", 1),
        ("names/names.txt", "line", "names", 32_033),
    ],
)
def test_known_corpora_are_recognized(shared_data, tmp_path, file, sample_by, name, texts):
    found = load_texts(str(shared_data / file), sample_by)
    assert found.known == name == found.provenance["name"]
    assert len(found.train) + len(found.validation) == (texts if sample_by == "line" else 2)
    changed = (shared_data / file).read_text(encoding="utf-8").replace("a", "b", 1)
    assert load_texts(write(tmp_path / "a.txt", changed), sample_by).known is None


@pytest.mark.parametrize("name", ["missing.txt", "./missing", "/no/such/folder", "~/missing.csv", "a/b/c"])
def test_a_missing_file_is_not_looked_for_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", None)
    assert refused(name) == f"no file or folder '{name}'"


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("content", ["", "  \n\n"])
def test_an_empty_file(tmp_path, name, content):
    path = write(tmp_path / name, content)
    line = refused(path)
    assert path in line
    if name == "a.txt" or not content:
        assert line == f"{path} is empty"


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_not_utf_8(tmp_path, name):
    line = refused(write(tmp_path / name, "text\nGrün\nx\n".encode("latin-1")))
    assert "not UTF-8" in line or "utf-8" in line.lower()
    assert str(tmp_path / name) in line


@pytest.mark.parametrize(
    "name, content", [("a.jsonl", "{broken"), ("a.parquet", "text"), ("a.csv", 'a,b\n"open\n1,2,3\n')]
)
def test_a_broken_table_is_named(tmp_path, name, content):
    line = refused(write(tmp_path / name, content))
    assert str(tmp_path / name) in line


def test_a_missing_column_lists_those_present(tmp_path):
    path = table(tmp_path / "a.csv", column="texts")
    assert (
        refused(path, text_column="txts")
        == f"{path} has no column 'txts'; it has: id, texts; did you mean 'texts'?"
    )
    assert refused(path).endswith("name one of: id, texts with --text-column")


def test_a_column_without_text(tmp_path):
    path = table(tmp_path / "a.parquet")
    assert refused(path, text_column="id") == f"column 'id' of {path} holds int, not text"
    path = write(tmp_path / "b.jsonl", '{"text": null}\n{"text": ""}\n')
    assert "has no text in it" in refused(path)


def test_one_text_is_too_few_to_hold_one_out(tmp_path):
    assert "has 1 text; at least 2" in refused(table(tmp_path / "a.csv", ["alone"]))
    assert "has 1 text; at least 2" in refused(write(tmp_path / "a.txt", "alone\n"), sample_by="line")


def test_an_unknown_kind_of_file_lists_the_known_ones(tmp_path):
    line = refused(write(tmp_path / "a.pdf", "%PDF"))
    assert "unknown kind of file" in line and ".parquet" in line and ".txt" in line


def test_a_folder_without_train_lists_what_it_has(tmp_path):
    write(tmp_path / "d" / "one.txt", "1")
    write(tmp_path / "d" / "two.txt", "2")
    line = refused(str(tmp_path / "d"))
    assert "one.txt, two.txt" in line and "train" in line
    (tmp_path / "empty").mkdir()
    assert "no data files" in refused(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["nobody/nothing", "imdb", "world/storis", "nobody/nothing:config"])
def test_a_hub_id_without_a_network_is_refused_never_replaced(name, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    line = refused(name)
    assert line.startswith(
        f"'{name}' is no embedded set ({', '.join(EMBEDDED)}), no local file, and could not be read"
    )
    assert ("did you mean 'world/stories'?" in line) == (name == "world/storis")
