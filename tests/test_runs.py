"""The run folder: a complete run is replaced only by another complete one, whenever the process dies."""

import json
import os
import shutil

import pytest

from hf_llmpath import runs
from hf_llmpath.errors import UserError
from hf_llmpath.runs import Goal, NoProgress, Run, RunFolder
from tests.support.small import IDENTITY, model_of, same, weights_of

SETTINGS = {"seed": 0, "dataset": "x", "rates": (0.1, 0.2)}
IDENTITY = IDENTITY | {"settings": SETTINGS}


def results(run: Run, value: float) -> None:
    """Everything that a run leaves, told apart by `value`."""
    run.save_model(model_of(seed=int(value)))
    run.save_model(model_of(seed=int(value) + 10), name="other")
    run.save_figure_data("curve", [value])
    (run.new / "figures" / "curve.png").write_bytes(b"png")
    job = run.job("part")
    (job.folder / "history.jsonl").write_text(json.dumps({"step": 1, "loss": value}) + "\n")
    run.report(
        {"name": "x"}, {"accuracy": value}, {"accuracy": 0.5}, [Goal("accuracy", 2.0, True)], main="accuracy"
    )
    run.write_report()
    run.write_card(f"card {value}")


def complete(folder, value: float = 1.0) -> RunFolder:
    run = Run.start(folder, IDENTITY)
    results(run, value)
    return run.commit()


def value_of(folder: RunFolder) -> float:
    """The value that all results of the folder have; they come from one run."""
    found = {folder.metrics["accuracy"], folder.figure_data("curve")[0], folder.history[0]["loss"]}
    found.add(float((folder.path / "README.md").read_text().removeprefix("card ")))
    from safetensors.torch import load_file

    for path, seed in ((folder.model_dir, 0), (folder.model("other"), 10)):
        weights = load_file(path / "model.safetensors")
        found.add(next(float(n) for n in (1, 2) if same(weights, weights_of(model_of(seed=n + seed)))))
    assert len(found) == 1
    return found.pop()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "07-rnn"


def test_a_complete_run_has_its_results_and_no_checkpoints(folder):
    run = complete(folder)
    assert run.state == "complete" and run.is_complete and run.slug == "rnn"
    assert value_of(run) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(runs.RESULTS)
    assert [path.name for path in run.figures] == ["curve.png"]
    assert run.history == [{"part": "part", "step": 1, "loss": 1.0}]


def test_a_second_run_replaces_the_first(folder):
    complete(folder, 1)
    assert value_of(complete(folder, 2)) == 2


def test_what_the_second_run_does_not_have_is_not_left_from_the_first(folder):
    complete(folder, 1)
    run = Run.start(folder, IDENTITY)
    run.save_model(model_of(seed=2))
    run.report({"name": "x"}, {"accuracy": 2.0}, {}, [], main="accuracy")
    run.write_report()
    again = run.commit()
    assert again.metrics == {"accuracy": 2.0}
    assert not (folder / "models").exists() and not again.figures and not (folder / "README.md").exists()


def test_killed_before_the_marker_the_last_complete_run_is_untouched(folder):
    complete(folder, 1)
    run = Run.start(folder, IDENTITY)
    results(run, 2)  # and here the process dies
    found = RunFolder(folder)
    assert found.state == "stopped" and found.is_complete
    assert value_of(found) == 1
    Run.start(folder, IDENTITY, resume=True)
    assert value_of(RunFolder(folder)) == 1


@pytest.mark.parametrize("moves", range(len(runs.RESULTS) + 1))
def test_killed_during_the_move_the_next_to_open_finishes_it(folder, monkeypatch, moves):
    complete(folder, 1)
    run = Run.start(folder, IDENTITY)
    results(run, 2)
    replace, done = runs._replace, []

    def replace_until_killed(source, target):
        if len(done) == moves:
            raise SystemExit
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(runs, "_replace", replace_until_killed)
    try:
        run.commit()
    except SystemExit:
        assert moves < len(runs.RESULTS)
    monkeypatch.undo()
    found = RunFolder(folder)
    assert found.state == "complete" and value_of(found) == 2
    assert not (folder / "checkpoints").exists()


def test_killed_between_removing_the_old_and_moving_the_new(folder, monkeypatch):
    complete(folder, 1)
    run = Run.start(folder, IDENTITY)
    results(run, 2)

    def killed(*_):
        raise SystemExit

    monkeypatch.setattr(os, "replace", killed)
    (run.new / "COMPLETE").write_text("\n".join(runs.RESULTS))
    with pytest.raises(SystemExit):
        RunFolder(folder)
    monkeypatch.undo()
    assert value_of(RunFolder(folder)) == 2


def test_killed_while_cleaning_up(folder, monkeypatch):
    run = Run.start(folder, IDENTITY)
    results(run, 2)
    rmtree = shutil.rmtree

    def killed(path, *args, **kwargs):
        if path.name == "checkpoints":
            (path / "new" / "COMPLETE").unlink()  # some files went, then the process died
            raise SystemExit
        rmtree(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(SystemExit):
        run.commit()
    monkeypatch.undo()
    found = RunFolder(folder)
    assert value_of(found) == 2
    assert found.state == "complete"


def test_a_model_is_saved_whole_or_not_at_all(folder, monkeypatch):
    run = Run.start(folder, IDENTITY)
    run.save_model(model_of(seed=1))
    broken = model_of(seed=2)

    def half(path, **_):
        path.mkdir()
        (path / "config.json").write_text("{")
        raise SystemExit

    monkeypatch.setattr(broken, "save_pretrained", half)
    with pytest.raises(SystemExit):
        run.save_model(broken)
    from safetensors.torch import load_file

    assert same(load_file(run.new / "model" / "model.safetensors"), weights_of(model_of(seed=1)))
    run.save_model(model_of(seed=2))
    assert same(load_file(run.new / "model" / "model.safetensors"), weights_of(model_of(seed=2)))


def test_a_stopped_run_is_set_aside_not_lost(folder):
    said = []

    class Told(NoProgress):
        def say(self, text):
            said.append(text)

    Run.start(folder, IDENTITY).job("part").finish({"x": 1})
    Run.start(folder, IDENTITY, progress=Told())
    kept = folder / "checkpoints.stopped"
    assert json.loads((kept / "parts" / "part" / "result.json").read_text()) == {"x": 1}
    assert any("checkpoints.stopped" in line for line in said)
    assert not (folder / "checkpoints" / "parts").exists()
    Run.start(folder, IDENTITY)  # the second one takes the place of the first


def test_resume_finds_the_finished_parts_and_the_time_spent(folder):
    run = Run.start(folder, IDENTITY)
    job = run.job("one")
    (job.folder / "checkpoint-5").mkdir()
    assert not job.done
    assert job.finish({"loss": 0.5}, model_of(seed=1)) == {"loss": 0.5}
    assert not (job.folder / "checkpoint-5").exists()
    run._seconds_before = 100.0
    run.pause()
    again = Run.start(folder, IDENTITY, resume=True)
    assert again.job("one").done and again.job("one").result == {"loss": 0.5}
    assert (again.job("one").model_dir / "model.safetensors").exists()
    assert not again.job("two").done
    assert again.seconds >= 100


def refused(*args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        Run.start(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_to_resume(folder):
    assert "nothing to resume" in refused(folder, IDENTITY, resume=True)
    complete(folder)
    assert "nothing to resume" in refused(folder, IDENTITY, resume=True)
    assert value_of(RunFolder(folder)) == 1


def test_resume_with_other_settings_names_the_first_that_differs(folder):
    Run.start(folder, IDENTITY)
    other = IDENTITY | {"settings": SETTINGS | {"rates": (0.1, 0.3)}}
    assert "rates was [0.1, 0.2], is (0.1, 0.3)" in refused(folder, other, resume=True)
    Run.start(folder, IDENTITY, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_the_folder_of_another_stage(folder, resume):
    complete(folder)
    other = IDENTITY | {"slug": "lstm-gru", "stage": 8}
    assert "is a run folder of stage 'rnn', not of 'lstm-gru'" in refused(folder, other, resume=resume)
    assert value_of(RunFolder(folder)) == 1


def test_resume_of_the_stopped_run_of_another_stage(folder):
    Run.start(folder, IDENTITY)
    other = IDENTITY | {"slug": "lstm-gru", "stage": 8}
    assert "is a run folder of stage 'rnn'" in refused(folder, other, resume=True)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "07-rnn"):
        assert "a file is in the way" in refused(folder, IDENTITY)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    def denied(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", denied)
    assert (
        refused(folder, IDENTITY)
        == f"cannot write to {folder}: Permission denied; choose another --output-dir"
    )


def test_no_report(folder):
    found = RunFolder(folder)
    assert found.state == "none" and not found.is_complete and found.history == [] and found.figures == []
    with pytest.raises(UserError, match="no complete run in .*07-rnn; train it with: llmpath run rnn"):
        _ = found.report


def test_a_report_that_is_not_json(folder):
    folder.mkdir()
    (folder / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="is not readable as JSON"):
        _ = RunFolder(folder).report


def test_a_damaged_report_does_not_stand_in_the_way_of_the_next_run(folder):
    complete(folder)
    (folder / "metrics.json").write_text("{")
    assert value_of(complete(folder, 2.0)) == 2.0


def test_the_report_has_what_the_contract_names(folder):
    report = complete(folder).report
    assert {name: report[name] for name in ("stage", "slug", "preset", "seed", "command")} == {
        "stage": 7,
        "slug": "rnn",
        "preset": "quick",
        "seed": 0,
        "command": "llmpath",
    }
    assert report["goals"] == [
        {"name": "accuracy", "value": 1.0, "goal": 2.0, "higher_is_better": True, "met": False}
    ]
    assert report["seconds"] > 0 and report["peak_memory_mb"] > 50
    assert report["versions"]["torch"] and report["hardware"]


@pytest.mark.parametrize(
    "value, goal, higher, met",
    [(1.0, 1.0, True, True), (1.0, 1.0, False, True), (0.9, 1.0, True, False), (1.1, 1.0, False, False),
     (1.1, 1.0, True, True), (float("nan"), 1.0, False, False), (float("nan"), 1.0, True, False)],
)  # fmt: skip
def test_a_goal_is_computed_from_the_metrics(value, goal, higher, met):
    assert Goal("x", goal, higher).against({"x": value, "y": 0})["met"] is met


def test_a_goal_about_a_metric_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        Goal("x", 1.0, True).against({"y": 1.0})


def test_text_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file.json"
    runs.write_text(path, "old")

    def killed(*_):
        raise SystemExit

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemExit):
        runs.write_text(path, "new")
    assert path.read_text() == "old"
