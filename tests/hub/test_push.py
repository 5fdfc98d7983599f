import json

import pytest
from huggingface_hub import HfApi, ModelCard, constants

from hf_llmpath.errors import UserError
from hf_llmpath.hub.push import push
from hf_llmpath.runs import RunFolder
from hf_llmpath.stages import get_stage
from tests.support.local_hub import Repository

MODEL = {
    "config.json",
    "model.safetensors",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "configuration_rnn.py",
    "modeling_rnn.py",
    "layers_recurrence.py",
}


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks for the network fails."""
    import socket

    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def fails(stage, run, repo_id="tester/never", **options):
    with pytest.raises(UserError) as raised:
        push(stage, run, repo_id, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_push_is_one_commit_with_everything_but_checkpoints_and_pickles(stage, a_run, hub_here):
    for rubbish in (
        "checkpoints/parts/x/optimizer.pt",
        "model/training_args.bin",
        "model/.hidden",
        "figures/x.pkl",
    ):
        (a_run.path / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (a_run.path / rubbish).write_bytes(b"\x80")
    result = push(stage, a_run, "pushed")
    assert result.repo_id == "tester/pushed" and result.url == f"{hub_here.endpoint}/tester/pushed"
    files = hub_here.files("tester/pushed")
    others = {"README.md", "metrics.json", "history.jsonl", "figures/gates.png", "figures/samples.json"}
    assert MODEL | others | {f"models/gru/{name}" for name in MODEL} <= set(files)
    assert {path.rpartition(".")[2] for path in files} == {
        "md",
        "json",
        "jsonl",
        "png",
        "py",
        "safetensors",
        "gitattributes",
    }
    assert files["model.safetensors"] == (a_run.model_dir / "model.safetensors").read_bytes()
    assert dict(result.files) == {path: len(data) for path, data in files.items() if path != ".gitattributes"}
    assert [commit.title for commit in hub_here.repositories["model", "tester/pushed"].commits] == [
        "initial commit",
        "Stage 8: Long short-term memory and gated recurrent units (quick)",
    ]


def test_card_on_the_hub_loads_from_the_hub(stage, untrained_run, hub_here):
    push(stage, untrained_run, "tester/card")
    text = hub_here.files("tester/card")["README.md"].decode()
    assert (
        'from_pretrained("tester/card", trust_remote_code=True)' in text
        and str(untrained_run.path) not in text
    )
    metrics = {result.metric_name: result.metric_value for result in ModelCard(text).data.eval_results}
    assert metrics.items() <= json.loads(hub_here.files("tester/card")["metrics.json"])["metrics"].items()


def test_a_second_push_leaves_nothing_of_the_first_but_what_others_put_there(stage, a_run, hub_here):
    push(stage, a_run, "tester/twice")
    hub_here.repositories["model", "tester/twice"].add(
        "by hand", hub_here.files("tester/twice") | {"notes.txt": b"mine"}
    )
    (a_run.path / "figures" / "gates.png").rename(a_run.path / "figures" / "other.png")
    push(stage, a_run, "tester/twice")
    files = set(hub_here.files("tester/twice"))
    assert {"figures/other.png", "notes.txt"} <= files and "figures/gates.png" not in files


def test_private(stage, untrained_run, hub_here):
    push(stage, untrained_run, "tester/hidden", private=True)
    assert HfApi(token=hub_here.token).model_info("tester/hidden").private
    with pytest.raises(OSError):
        HfApi(token=False).model_info("tester/hidden")


def test_dry_run_lists_files_without_network_or_token(stage, untrained_run, no_network, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    result = push(stage, untrained_run, "tester/dry", dry_run=True)
    sizes = dict(result.files)
    assert result.url is None and MODEL | {"README.md"} <= set(sizes)
    assert sizes["model.safetensors"] == (untrained_run.model_dir / "model.safetensors").stat().st_size
    assert result.total_bytes == sum(sizes.values())


@pytest.mark.parametrize("name", ["a/b/c", "a--b", "-a", "a b", "x.git", "a" * 97, "datasets/a/b", ""])
def test_name_that_is_not_allowed(stage, untrained_run, no_network, name):
    assert "not allowed as a repository name" in fails(stage, untrained_run, name)


def test_no_complete_run_or_another_stage(stage, untrained_run, tmp_path, no_network):
    message = fails(stage, RunFolder(tmp_path / "08-lstm-gru"))
    assert "no complete run" in message and "llmpath run lstm-gru" in message
    assert "is a run of stage 'lstm-gru', not of 'rnn'" in fails(get_stage("rnn"), untrained_run)


@pytest.mark.parametrize("model", ["model", "models/gru"])
def test_broken_weights_are_not_sent(stage, a_run, no_network, model):
    weights = a_run.path / model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "truncated" in fails(stage, a_run)
    weights.rename(weights.with_name("pytorch_model.bin"))
    assert "pickled weights" in fails(stage, a_run)
    weights.with_name("pytorch_model.bin").unlink()
    assert "missing" in fails(stage, a_run)


def test_no_token(stage, untrained_run, no_network, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    message = fails(stage, untrained_run)
    assert "hf auth login" in message and "HF_TOKEN" in message


def test_not_authorised(stage, untrained_run, hub_here):
    assert "does not accept this token" in fails(stage, untrained_run, token="hf_wrong")
    assert "may not write" in fails(stage, untrained_run, token=hub_here.read_token)
    assert "may not write to 'somebody/x'" in fails(stage, untrained_run, "somebody/x")
    hub_here.repositories["model", "somebody/theirs"] = Repository()
    assert "may not write" in fails(stage, untrained_run, "somebody/theirs")


def test_hub_out_of_reach(stage, untrained_run, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    message = fails(stage, untrained_run, token="hf_any")
    assert "cannot be reached" in message and "http://127.0.0.1:9" in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in fails(stage, untrained_run, token="hf_any")
