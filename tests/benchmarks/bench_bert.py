"""The training step of LLMPathBert compared with transformers' BertForMaskedLM, with the same weights.

A second part measures what dynamic padding and batches of similar length save. Run it on a quiet machine:

    python tests/benchmarks/bench_bert.py [step] [padding]
"""

import statistics
import sys
import time
from functools import partial

import numpy as np
import torch
from timing import seconds_in_turn
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from hf_llmpath.convert.bert import from_bert
from hf_llmpath.data.batches.collators import Masking, length_grouped_batches
from hf_llmpath.data.batches.token_rows import TokenRows
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForMaskedLM

# (batch, length, hidden, layers, vocabulary): the size of stage 11, and larger ones.
SHAPES = ((64, 32, 64, 2, 400), (32, 64, 128, 4, 2000), (16, 128, 256, 4, 8000))
MASK_RATE = 0.15


def batch_of(batch: int, length: int, vocab_size: int, padded: bool) -> dict[str, torch.Tensor]:
    """A masked batch; if `padded`, its rows have 60 to 100 % of the length."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocab_size, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        lengths = torch.randint(int(0.6 * length), length + 1, (batch,), generator=generator)
        mask = (torch.arange(length) < lengths[:, None]).long()
        ids = ids * mask
    inputs, labels = Masking(4, vocab_size, MASK_RATE)(ids, mask.bool(), generator)
    return {"input_ids": inputs, "attention_mask": mask, "labels": labels}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> None:
    """Takes one training step."""
    loss = model(**batch).loss
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def compare(shape: tuple[int, ...], repeats: int = 15) -> list[tuple[str, float, float]]:
    """For each model its name, its median milliseconds, and the median ratio to transformers' model."""
    size, length, hidden, layers, vocab_size = shape
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocab_size, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=4 * hidden, max_position_embeddings=length,
    )  # fmt: skip
    bert = BertForMaskedLM(config).train()
    models = {
        "transformers": bert,
        "ours": from_bert(bert),
        "ours, all logits": from_bert(bert, sparse_prediction=False),
    }
    runs = [(model.train(), torch.optim.AdamW(model.parameters(), fused=True)) for model in models.values()]
    batch = batch_of(size, length, vocab_size, padded=True)
    times = seconds_in_turn([partial(step, *run, batch) for run in runs], repeats, warm_up=3)
    ratios = [statistics.median(b / a for a, b in zip(times[0], own, strict=True)) for own in times]
    return [(n, 1000 * statistics.median(t), r) for n, t, r in zip(models, times, ratios, strict=True)]


def padding(
    rows: int = 2048, batch_size: int = 64, hidden: int = 64, repeats: int = 3
) -> list[tuple[str, float, float]]:
    """For three ways to make batches: the seconds of the fastest epoch, and the share of padding."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.normal(33, 8, rows).round(), 12, 64).astype(int)  # like the reviews of the world
    table = TokenRows([rng.integers(5, 400, length) for length in lengths])
    config = LLMPathBertConfig(vocab_size=400, hidden_size=hidden, max_position_embeddings=64)
    ways = {
        "padded to 64": (1, 64),
        "padded to the longest of the batch": (1, None),
        "and of similar length": (32, None),
    }
    results = {name: (float("inf"), 0.0) for name in ways}
    for _ in range(repeats):
        for name, (pool, width) in ways.items():
            torch.manual_seed(0)
            model = LLMPathBertForMaskedLM(config).train()
            optimizer = torch.optim.AdamW(model.parameters(), fused=True)
            generator, seconds, positions = torch.Generator().manual_seed(0), 0.0, 0
            for indices in length_grouped_batches(lengths, batch_size, np.random.default_rng(1), pool):
                ids, mask = table.padded(indices, 0)
                if width:
                    ids, mask = (nn.functional.pad(t, (0, width - t.shape[1])) for t in (ids, mask))
                inputs, labels = Masking(4, 400, MASK_RATE)(ids, mask.bool(), generator)
                start = time.perf_counter()
                step(model, optimizer, {"input_ids": inputs, "attention_mask": mask, "labels": labels})
                seconds += time.perf_counter() - start
                positions += ids.numel()
            results[name] = (min(results[name][0], seconds), 1 - lengths.sum() / positions)
    return [(name, *values) for name, values in results.items()]


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["step", "padding"]
    print(f"{torch.get_num_threads()} threads")
    if "step" in wanted:
        print(f"{'batch x length x hidden x layers x vocabulary':46} {'model':18} {'ms':>8} {'ratio':>6}")
        for shape in SHAPES:
            for name, milliseconds, ratio in compare(shape):
                print(
                    f"{' x '.join(map(str, shape)):46} {name:18} {milliseconds:8.1f} {ratio:6.2f}", flush=True
                )
    if "padding" in wanted:
        print(f"\n{'one epoch of 2,048 rows':40} {'seconds':>8} {'padding':>8}")
        for name, seconds, share in padding():
            print(f"{name:40} {seconds:8.2f} {share:8.1%}", flush=True)
