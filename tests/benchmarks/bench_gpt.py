"""LLMPathGPT compared with transformers' GPT2LMHeadModel of the same shape, in one run. Run it on a quiet
machine:

    python tests/benchmarks/bench_gpt.py [training] [generation]

Training: tokens per second of the same Trainer on the same blocks, in 32 and in 16 bits. Generation:
tokens per second of `generate` with a cache, greedy, and of `decoding.generation.greedy`, which writes the
same tokens. The two take turns several times; the median ratio counts, and the goal is 1.3 for training,
and for generation by the faster way.
"""

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, set_seed
from transformers.utils import logging

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.decoding.generation import greedy
from hf_llmpath.runs import Job, NoProgress
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.trainer import fit

# (batch, context, hidden, layers, heads, vocabulary): that of nanoGPT's recipe for a CPU, the stage's,
# and a larger one.
SHAPES = ((12, 64, 128, 4, 4, 68), (16, 128, 128, 4, 2, 68), (16, 128, 256, 6, 4, 2000))
STEPS, REPEATS = 12, 5
NEW_TOKENS = 96


class GPT2ForBlocks(GPT2LMHeadModel):
    """GPT-2 as it is, for blocks whose targets are cut already."""

    def forward(self, shift_labels: Tensor | None = None, **inputs: Any) -> Any:
        if shift_labels is None:
            return super().forward(**inputs)
        return super().forward(
            labels=inputs["input_ids"], shift_labels=shift_labels, use_cache=False, **inputs
        )


def models_of(shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """GPT-2, ours in its layout, and ours in today's; none with dropout."""
    _, context, hidden, layers, heads, vocab_size = shape
    set_seed(0)
    gpt2 = GPT2ForBlocks(
        GPT2Config(
            vocab_size=vocab_size,
            n_embd=hidden,
            n_layer=layers,
            n_head=heads,
            n_positions=max(context, NEW_TOKENS + 16),
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes |= {"vocab_size": vocab_size, "max_position_embeddings": max(context, NEW_TOKENS + 16)}
    ours = {
        f"ours, {layout}": LLMPathGPTForCausalLM(LLMPathGPTConfig(layout=layout, **sizes))
        for layout in ("gpt2", "modern")
    }
    return {"GPT2LMHeadModel": gpt2} | ours


def training_seconds(model: nn.Module, shape: tuple[int, ...], bf16: bool) -> float:
    """Seconds of `STEPS` steps by the Trainer, set-up left out."""
    batch, context, *_, vocab_size = shape
    tokens = np.random.default_rng(0).integers(0, vocab_size, 100_000)
    blocks = TokenBlocks(tokens, context, batch, STEPS, seed=0)
    recipe = Recipe(STEPS, batch, 1e-3, saves=0, bf16=bf16)
    marks: list[float] = []

    class Watch(NoProgress):
        def update(self, step: int, **values: float) -> None:
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        fit(model, blocks, recipe, Job(Path(folder), "job", Watch()), seed=0)
    return (marks[-1] - marks[1]) / (len(marks) - 2) * STEPS


@torch.no_grad()
def generation_seconds(model: nn.Module, batch: int) -> float:
    """Seconds in which `generate` writes `NEW_TOKENS` tokens in every row."""
    prompt = torch.randint(1, 60, (batch, 16), generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    output = model.eval().generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
    )
    assert output.shape == (batch, 16 + NEW_TOKENS)
    return time.perf_counter() - began


@torch.no_grad()
def own_seconds(model: nn.Module, batch: int) -> float:
    """The same by this project's own decoding."""
    prompt = torch.randint(1, 60, (batch, 16), generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    output = greedy(model.eval(), prompt, max_new_tokens=NEW_TOKENS, eos_token_id=model.config.vocab_size)
    assert output.shape == (batch, 16 + NEW_TOKENS)
    return time.perf_counter() - began


def compare(seconds_of: dict[str, Any], tokens: int) -> list[tuple[str, float, float]]:
    """Per name its median tokens per second and its median speed relative to the first; taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in seconds_of}
    for repeat in range(REPEATS + 1):
        for name, run in seconds_of.items():
            seconds = run()
            if repeat:
                times[name].append(seconds)
    first = next(iter(times.values()))
    return [
        (
            name,
            tokens / statistics.median(own),
            statistics.median(a / b for a, b in zip(first, own, strict=True)),
        )
        for name, own in times.items()
    ]


def main() -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wanted = sys.argv[1:] or ["training", "generation"]
    print(f"{torch.get_num_threads()} threads")
    for shape in SHAPES:
        print(f"\nbatch, context, hidden, layers, heads, vocabulary: {shape}")
        models = models_of(shape)
        if "training" in wanted:
            for bf16 in (False, True):
                runs = {name: partial(training_seconds, model, shape, bf16) for name, model in models.items()}
                _print(f"training{', bf16' * bf16}", compare(runs, shape[0] * shape[1] * STEPS))
        if "generation" in wanted:
            for batch in (1, 16):
                runs = {name: partial(generation_seconds, model, batch) for name, model in models.items()}
                runs |= {
                    f"{name}, decoding": partial(own_seconds, models[name], batch)
                    for name in models
                    if "ours" in name
                }
                _print(f"generation, batch {batch}", compare(runs, batch * NEW_TOKENS))


def _print(title: str, rows: list[tuple[str, float, float]]) -> None:
    for name, speed, ratio in rows:
        print(f"{title:22} {name:26} {speed:10,.0f} tokens/s {ratio:6.2f} x", flush=True)


if __name__ == "__main__":
    main()
