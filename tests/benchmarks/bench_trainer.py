"""What `fit` costs compared with a bare loop with the same model and batches, at the sizes of stage 7's quick
preset.

    python tests/benchmarks/bench_trainer.py [steps]

Prints seconds per step of both and their ratio; the goal is a ratio below 1.2. The two are timed in turn,
several times, and the fastest of each counts. Run it on a machine that does nothing else.
"""

import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import get_cosine_schedule_with_warmup, set_seed

from hf_llmpath.data.batches.streams import StreamWindows, as_is
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.runs import Job
from hf_llmpath.stages.s07_rnn import RNNSettings
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.trainer import fit

SETTINGS = RNNSettings.quick()
VOCAB, REPEATS = 60, 3


def new_model() -> LLMPathRNNForCausalLM:
    set_seed(0)
    sizes = {"hidden_size": SETTINGS.hidden_size, "embedding_size": SETTINGS.embedding_size}
    return LLMPathRNNForCausalLM(LLMPathRNNConfig(cell="rnn", vocab_size=VOCAB, **sizes))


def bare(dataset: StreamWindows, recipe: Recipe) -> float:
    """Seconds of the shortest loop that does the same: forward, backward, clip, AdamW, schedule."""
    model = new_model().train()
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.learning_rate, betas=(0.9, recipe.adam_beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )  # fmt: skip
    schedule = get_cosine_schedule_with_warmup(optimizer, round(recipe.warmup * recipe.steps), recipe.steps)
    loader = DataLoader(dataset, batch_size=recipe.batch_size, collate_fn=as_is, drop_last=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    cache, began = None, time.perf_counter()
    for batch in itertools.islice(batches, recipe.steps):
        if batch.pop("first"):
            cache = None
        outputs = model(**batch, cache=cache, use_cache=True)
        cache = outputs.cache
        cache.detach()
        outputs.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def ours(dataset: StreamWindows, recipe: Recipe) -> float:
    """Seconds of `fit`, set-up, history and checkpoints included."""
    model = new_model()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit(model, dataset, recipe, Job(Path(folder), "job"), seed=0)
        return time.perf_counter() - began


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    random = np.random.default_rng(0)
    tokens = random.integers(0, VOCAB, SETTINGS.batch_size * SETTINGS.context * 500 + 1)
    dataset = StreamWindows(tokens, SETTINGS.batch_size, SETTINGS.context)
    recipe = Recipe(steps, SETTINGS.batch_size, SETTINGS.learning_rate, weight_decay=0.01, carry_state=True)
    for timed in (bare, ours):
        timed(dataset, Recipe(**vars(recipe) | {"steps": 10}))
    seconds = {bare: [], ours: []}
    for timed in [bare, ours] * REPEATS:
        seconds[timed].append(timed(dataset, recipe))
    best = {timed.__name__: min(found) / steps for timed, found in seconds.items()}
    print(f"{steps} steps of {SETTINGS.batch_size} x {SETTINGS.context}, hidden size {SETTINGS.hidden_size}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(f"bare loop {1000 * best['bare']:.2f} ms, fit {1000 * best['ours']:.2f} ms a step, "
          f"ratio {best['ours'] / best['bare']:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
