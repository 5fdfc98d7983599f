"""Tables with labels: what cannot be learned from is told with the row of the file, before anything is
trained.
"""

import pytest

from hf_llmpath.data.tables import LABEL_COLUMNS, TEXT_COLUMNS, load_table
from hf_llmpath.errors import UserError

COLUMNS = {"text": TEXT_COLUMNS, "label": LABEL_COLUMNS}


def written(path, rows, header="text,label"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def refused(path, columns=COLUMNS):
    with pytest.raises(UserError) as error:
        load_table(path, columns)
    assert "\n" not in str(error.value) and path in str(error.value)
    return str(error.value)


def rows(count, classes=2):
    return [f"day {number},{number % classes}" for number in range(count)]


def test_a_good_table_is_read(tmp_path):
    table = load_table(written(tmp_path / "a.csv", rows(40, 3)), COLUMNS)
    assert table.classes == ["0", "1", "2"]
    assert sorted([*table.train["text"], *table.held_out["text"]]) == sorted(row[:-2] for row in rows(40, 3))
    for split in ("train", "validation"):
        assert [int(text.split()[1]) % 3 for text in table.splits[split]["text"]] == table.labels(split)


def test_a_row_without_label_or_text_is_named(tmp_path):
    path = written(tmp_path / "a.csv", [*rows(20), "day 20,", "day 21,1"])
    assert f"row 21 of '{path}' (train) has no label" in refused(path)
    path = written(tmp_path / "b.jsonl", ['{"text": "a", "label": 0}', '{"text": null, "label": 1}'], "")
    assert "row 2 of" in refused(path) and "has no text" in refused(path)


def test_texts_that_are_numbers_are_refused(tmp_path):
    path = written(tmp_path / "a.csv", [f"{number},{number % 2}" for number in range(20)])
    assert "column 'text'" in refused(path) and "holds int64, not text" in refused(path)


def test_a_single_class(tmp_path):
    assert "has the single class 1; at least 2 are needed" in refused(
        written(tmp_path / "a.csv", ["x,1", "y,1"])
    )


def test_a_class_that_would_be_held_out_altogether(tmp_path):
    path = written(tmp_path / "a.csv", [f"day {number},{number}" for number in range(30)])
    assert "has too few rows with the label" in refused(path)
    assert "has too few rows with the label" in refused(written(tmp_path / "b.csv", ["x,0", "y,1"]))


def test_a_header_alone_has_no_rows(tmp_path):
    assert refused(written(tmp_path / "a.csv", [])) == f"{tmp_path / 'a.csv'} has no rows"
