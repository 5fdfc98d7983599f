"""Run folders with tiny untrained models: every page has something to show without any training."""

from pathlib import Path

import numpy as np
import torch

from hf_llmpath.data.tokenizers.characters import train_character_tokenizer
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.runs import Goal, Run, RunFolder
from hf_llmpath.stages import get_stage

TEXT = (
    '"Tonight I will hear the owls sing," said Jonas.\nIt was Mara\'s red hat: Otto, Ben, Ivy & Karl! Why? '
    "quiz, fix, jump, The back way Come."
)
HIDDEN = 24
STAND_INS = ("sequences", "rnn", "lstm-gru")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8cfc0f01f0005000201a5f6459e0000000049454e44ae426082"
)


def tiny_model(tokenizer, cell: str) -> LLMPathRNNForCausalLM:
    torch.manual_seed(0)
    config = LLMPathRNNConfig(
        cell=cell,
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=1.0,
    )
    model = LLMPathRNNForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.bias[:3] = -20  # its texts do not end, so that their length is what was asked for
    return model


def make_run(root: Path, slug: str) -> RunFolder:
    """A complete run folder of stage 6, 7 or 8 under `root`."""
    stage = get_stage(slug)
    identity = {
        "stage": stage.number,
        "slug": slug,
        "preset": "quick",
        "settings": {"seed": 0, "dataset": "world/stories"}
        | ({"adding_length": 50} if slug == "lstm-gru" else {}),
        "command": f"llmpath run {slug} --preset quick",
    }
    run = Run.start(root / stage.folder_name, identity)
    tokenizer = train_character_tokenizer([TEXT], byte_fallback=False)
    cell = {"sequences": "rnn", "rnn": "rnn", "lstm-gru": "lstm"}[slug]
    run.save_model(tiny_model(tokenizer, cell), tokenizer)
    metrics = {
        "bits_per_character": 1.234,
        "validation_loss": 0.8553,
        "perplexity": 2.352,
        "parameters": 123_456,
    }
    baselines = {"bits_per_character": 1.876, "validation_loss": 1.3}
    goals = [
        Goal("bits_per_character", 1.876, higher_is_better=False),
        Goal("perplexity", 2.0, higher_is_better=False),
    ]
    run.save_figure_data("samples", {"0.7": "Otto had a blue hat, and it looked like a sleeping cat."})
    if slug == "sequences":
        months = np.arange(48)
        truth = (100 + months + 20 * np.sin(months * np.pi / 6)).tolist()
        forecast = {
            "name": "tea_sales",
            "values": truth,
            "cut": 36,
            "forecast": truth[36:],
            "rollout": truth[35:47],
            "seasonal_naive": truth[24:36],
        }
        run.save_figure_data("forecast_tea_sales", forecast)
    if slug == "rnn":
        table = [
            {"feature": "inside quotation", "unit": 7, "correlation": 0.81},
            {"feature": "position in word", "unit": 3, "correlation": -0.66},
        ]
        run.save_figure_data("readable_unit", table[0] | {"table": table})
        reading = (
            '"I was looking for you everywhere!" cried Karl. Laughing, each of them gave back the wrong bell.'
        )
        quoted = [0.9 if reading[: place + 1].count('"') % 2 else -0.6 for place in range(len(reading))]
        run.save_figure_data("hidden_states", {"text": reading, "units": [7], "values": [quoted]})
        run.save_figure_data("gradient_by_lag", {"lag": list(range(32)), "norm": [0.7**k for k in range(32)]})
        metrics |= {"readable_unit": 7, "readable_unit_correlation": 0.81}
    if slug == "lstm-gru":
        for place, cell in enumerate(("rnn", "gru", "lstm")):
            run.save_model(tiny_model(tokenizer, cell), tokenizer, name=cell)
            metrics |= {
                f"{cell}/validation_loss": 1.1 - 0.1 * place,
                f"{cell}/parameters": 250_000,
                f"{cell}/seconds": 9.5,
            }
            metrics |= {f"adding/{cell}/mean_squared_error": 0.167 if cell == "rnn" else 0.004}
        run.save_figure_data(
            "memory",
            {cell: [a**k for k in range(64)] for cell, a in (("rnn", 0.7), ("gru", 0.9), ("lstm", 0.95))},
        )
        run.save_figure_data(
            "adding", {cell: [[s, 0.2 / s] for s in range(1, 9)] for cell in ("rnn", "gru", "lstm")}
        )
    run.report({"name": "world/stories"}, metrics, baselines, goals, main="bits_per_character")
    run.write_report()
    (run.new / "figures" / "gradient_by_lag.png").write_bytes(PIXEL)
    return run.commit()
