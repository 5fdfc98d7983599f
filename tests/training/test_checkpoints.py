"""Checkpoints are whole or not there, and say how many processes wrote them."""

import json
from pathlib import Path

import pytest

from hf_llmpath.errors import UserError
from hf_llmpath.training.checkpoints import (
    COMPLETE,
    last_checkpoint,
    mark_complete,
    newest_checkpoint,
    write_checkpoint,
)


def write(folder: Path, step: int, text: str = "state") -> None:
    write_checkpoint(folder, step, lambda temporary: (temporary / "state").write_text(text))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_stays_and_steps_are_numbers(tmp_path):
    assert last_checkpoint(tmp_path) is None and last_checkpoint(tmp_path / "nowhere") is None
    for step in (8, 9, 10):
        write(tmp_path, step)
        assert last_checkpoint(tmp_path) == tmp_path / f"checkpoint-{step}"
    assert names(tmp_path) == ["checkpoint-10"]
    assert json.loads((tmp_path / "checkpoint-10" / COMPLETE).read_text()) == {"processes": 1}


def test_one_that_fails_on_the_way_leaves_the_one_before(tmp_path):
    def half(temporary: Path) -> None:
        (temporary / "state").write_text("ha")
        raise OSError("no space left")

    write(tmp_path, 5, "five")
    with pytest.raises(OSError, match="no space"):
        write_checkpoint(tmp_path, 10, half)
    assert (last_checkpoint(tmp_path) / "state").read_text() == "five"
    write(tmp_path, 10, "ten")  # over what was left of the other
    assert (
        names(tmp_path) == ["checkpoint-10"] and (tmp_path / "checkpoint-10" / "state").read_text() == "ten"
    )


def test_a_folder_without_its_mark_is_passed_over(tmp_path):
    write(tmp_path, 5)
    (tmp_path / "checkpoint-7").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    mark_complete(tmp_path / "checkpoint-7")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-7"


@pytest.mark.parametrize(
    "mark, message",
    [
        (
            '{"processes": 4}',
            r"by 4 processes and cannot be continued by 1: .*; start 4 \(.*torchrun .* 4\), or start over",
        ),
        ("", "by an older version, which did not note how many processes wrote it; start over"),
    ],
)
def test_what_this_process_cannot_go_on_from_is_told_and_kept(tmp_path, mark, message):
    write(tmp_path, 5)
    (tmp_path / "checkpoint-5" / COMPLETE).write_text(mark)
    with pytest.raises(UserError, match=message):
        last_checkpoint(tmp_path)
    assert (
        newest_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
        and (tmp_path / "checkpoint-5" / "state").exists()
    )
