"""The parts of the kit by themselves: pictures, the language model's answers, panels, and how the app is
served.
"""

import re
import socket
import subprocess
import sys

import gradio as gr
import numpy as np
import pytest
import torch

from hf_llmpath.decoding.character_writer import CharacterWriter, load_character_writer
from hf_llmpath.errors import UserError
from hf_llmpath.hub.model_folder import snippet_of_run
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import all_stages, get_stage
from hf_llmpath.ui import app, page

CONCEPTS = [(stage, concept) for stage in all_stages() for concept in stage.concepts]


@pytest.fixture(scope="module")
def model(runs_root) -> CharacterWriter:
    return load_character_writer(runs_root / "07-rnn" / "model")


def test_probabilities_are_those_of_the_model(model):
    rows = model.next_probabilities("Otto", 0.5)
    ids = torch.tensor(
        [[model.tokenizer.bos_token_id, *model.tokenizer.encode("Otto", add_special_tokens=False)]]
    )
    with torch.no_grad():
        expected = (model.model(input_ids=ids).logits[0, -1] / 0.5).softmax(-1)
    assert sum(p for _, p in rows) == pytest.approx(1)
    assert [p for _, p in rows] == pytest.approx(expected.sort(descending=True).values.tolist(), rel=1e-4)
    assert rows[0][0] == model.labels([int(expected.argmax())])[0]


def test_writing_depends_on_the_seed_alone(model):
    first = [writing.text for writing in model.write("Otto", 1.0, 40, 1)]
    torch.manual_seed(99)
    assert [writing.text for writing in model.write("Otto", 1.0, 40, 1)] == first
    assert [writing.text for writing in model.write("Otto", 1.0, 40, 2)] != first
    assert len(first[-1]) == 40


def test_writing_carries_the_state_that_reading_gives(model):
    *_, last = model.write("Otto", 1.0, 30, 1, with_states=True)
    read = model.states("".join(last.trace.tokens))
    assert np.abs(read.values - last.trace.values).max() < 1e-5


def test_a_truncated_weight_file_is_reported(runs_root, tmp_path):
    source = runs_root / "07-rnn" / "model"
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(
            path.read_bytes()[: 900 if path.suffix == ".safetensors" else None]
        )
    with pytest.raises(UserError, match="model.safetensors"):
        load_character_writer(tmp_path)


def test_the_table_of_models_shows_the_spread_of_seeds():
    metrics = {
        "lstm/loss": 1.5,
        "lstm/loss_sd": 0.02,
        "lstm/loss_seeds": [1.4, 1.6],
        "rnn/loss": 2.0,
        "loss": 3.0,
    }
    table = page.compared(metrics, {"lstm": "LSTM", "rnn": "RNN"}, "Text: compared")
    shown = re.findall(r"<t[hd](?: [^>]*)?>([^<]*)", table)
    assert shown == ["Text", "LSTM", "RNN", "loss", "1.5 ± 0.02", "2"]


@pytest.mark.parametrize(("stage", "concept"), CONCEPTS, ids=[f"{s.slug}-{c.name}" for s, c in CONCEPTS])
def test_the_code_of_every_concept_is_shown(stage, concept):
    shown = page.source_of(concept)
    place, line = re.match(r"`(hf_llmpath/[\w/]+\.py):(\d+)`", shown).groups()
    name = concept.implementation.rpartition(".")[2]
    assert re.search(r"^(def|class|@).*", shown, re.MULTILINE) and name in shown
    source = stage.source.parents[2] / place
    assert name in "\n".join(source.read_text(encoding="utf-8").splitlines()[int(line) - 1 : int(line) + 5])


@pytest.mark.slow
def test_the_load_snippet_runs_as_it_stands(runs_root):
    stage = get_stage("lstm-gru")
    snippet = snippet_of_run(stage, RunFolder(runs_root / stage.folder_name))
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100


def test_a_port_in_use_is_one_line_that_names_a_free_one(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is in use; (\d+) is free: --port \1"):
            app.launch_stage("rnn", runs_root=tmp_path, port=port)


@pytest.mark.parametrize(("space", "host"), [(None, "127.0.0.1"), ("someone/07-rnn", "0.0.0.0")])
def test_only_a_space_listens_to_others(tmp_path, monkeypatch, space, host):
    asked = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **options: asked.update(options))
    monkeypatch.delenv("SPACE_ID", raising=False)
    if space:
        monkeypatch.setenv("SPACE_ID", space)
    app.launch_stage("rnn", runs_root=tmp_path)
    assert (asked["server_name"], asked["share"], asked["inbrowser"], asked["ssr_mode"]) == (
        host,
        False,
        False,
        False,
    )


def test_a_stage_is_shown_on_the_model_of_the_hub_else_on_the_local_run(runs_root, tmp_path, monkeypatch):
    from hf_llmpath.hub import fetch

    def header(blocks):
        return next(b.value for b in blocks.blocks.values() if isinstance(b, gr.HTML) and b.value)

    fetched = RunFolder(runs_root / "07-rnn")
    monkeypatch.setattr(fetch, "fetch_run", lambda model_id: fetched)
    assert "someone/rnn" in header(app.build_stage("rnn", tmp_path, "someone/rnn"))
    monkeypatch.setattr(fetch, "fetch_run", lambda model_id: None)
    assert "not trained yet" in header(app.build_stage("rnn", tmp_path, "someone/rnn"))
    assert "1.234" in header(app.build_stage("rnn", runs_root, "someone/rnn"))
