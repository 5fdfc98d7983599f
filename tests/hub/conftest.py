import shutil
from pathlib import Path

import pytest
import torch

from hf_llmpath import LLMPathRNNConfig, LLMPathRNNForCausalLM
from hf_llmpath.data.tokenizers.characters import train_character_tokenizer
from hf_llmpath.hub.cards import render
from hf_llmpath.runs import Goal, Run, RunFolder
from hf_llmpath.stages import get_stage
from tests.support.hub_fixture import hub_here, local_hub

__all__ = ["hub_here", "local_hub"]

PNG = b"\x89PNG\r\n\x1a\n"
METRICS = {
    "validation_loss": 0.6931471805599453,
    "bits_per_character": 1.0000000000000002,
    "parameters": 5000,
    "gru/validation_loss": 0.5,
    "gru/validation_loss_sd": 1e-05,
    "gru/validation_loss_seeds": [0.49999, 0.50001],
    "adding/gru/mean_squared_error": 3.25e-05,
}


@pytest.fixture(scope="session")
def stage():
    return get_stage("lstm-gru")


@pytest.fixture(scope="session")
def untrained_run(stage, tmp_path_factory) -> RunFolder:
    """A complete run folder as a training leaves it, with small untrained models: an LSTM as the
    main one, and a GRU.
    """
    identity = {
        "stage": stage.number,
        "slug": stage.slug,
        "preset": "quick",
        "command": "llmpath run lstm-gru",
    }
    folder = tmp_path_factory.mktemp("runs") / stage.folder_name
    run = Run.start(folder, identity | {"settings": {"seed": 3, "dataset": "world/stories"}})
    torch.manual_seed(0)
    tokenizer = train_character_tokenizer(["The cat sat on the mat."])
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 8}
    special = {"bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    run.save_model(LLMPathRNNForCausalLM(LLMPathRNNConfig(cell="lstm", **sizes, **special)), tokenizer)
    run.save_model(
        LLMPathRNNForCausalLM(LLMPathRNNConfig(cell="gru", **sizes, **special)), tokenizer, name="gru"
    )
    run.save_figure_data("samples", {"0.7": "The cat ``` sat."})
    (run.new / "figures" / "gates.png").write_bytes(PNG)
    run.report(
        {
            "name": "world/stories",
            "source": "world/stories",
            "fingerprint": "0123",
            "sizes": {"train_texts": 12345},
        },
        METRICS,
        {"bits_per_character": 1.5},
        [Goal("bits_per_character", 1.25, False), Goal("adding/gru/mean_squared_error", 1e-6, False)],
        main="bits_per_character",
    )
    run.write_report()
    run.write_card(render(stage, run.new))
    return run.commit()


@pytest.fixture
def a_run(untrained_run, tmp_path) -> RunFolder:
    """A copy of it to change."""
    return RunFolder(shutil.copytree(untrained_run.path, Path(tmp_path) / untrained_run.path.name))
