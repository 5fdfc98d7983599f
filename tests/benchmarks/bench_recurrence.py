"""The training step of our recurrent layers compared with torch.nn's, with the same weights.

Run it on a quiet machine:

    python tests/benchmarks/bench_recurrence.py [rnn] [gru] [lstm]
"""

import statistics
import sys
from functools import partial

import torch
from timing import seconds_in_turn
from torch import nn

from hf_llmpath import LLMPathRNNConfig, LLMPathRNNForCausalLM

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# (batch, length, hidden): the sizes of the stages' language models, and some around them.
SHAPES = ((32, 64, 128), (32, 64, 256), (64, 64, 256), (32, 64, 512), (32, 128, 512))
VOCAB, EMBEDDING = 68, 128


class Library(nn.Module):
    """The same language model on torch.nn's layer, with the same weights."""

    def __init__(self, model: LLMPathRNNForCausalLM, cell: str):
        super().__init__()
        config = model.config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = TORCH[cell](config.embedding_size, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        layer = model.model.layers[0]
        with torch.no_grad():
            self.embedding.weight.copy_(model.model.embed_tokens.weight)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(self.recurrent, f"{name}_l0").copy_(getattr(layer, name))
            self.head.load_state_dict(model.lm_head.state_dict())

    def forward(self, input_ids: torch.Tensor, shift_labels: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.recurrent(self.embedding(input_ids))[0])
        return nn.functional.cross_entropy(logits.flatten(0, 1), shift_labels.flatten())


def step(model: nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor, labels: torch.Tensor) -> None:
    """Takes one training step."""
    output = model(input_ids=ids, shift_labels=labels)
    loss = output if isinstance(output, torch.Tensor) else output.loss
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def compare(cell: str, batch: int, length: int, hidden: int, repeats: int = 15) -> tuple[float, float, float]:
    """Median milliseconds of the library's step and of ours, and the median of their ratios."""
    torch.manual_seed(0)
    config = LLMPathRNNConfig(cell=cell, vocab_size=VOCAB, embedding_size=EMBEDDING, hidden_size=hidden)
    ours = LLMPathRNNForCausalLM(config)
    library = Library(ours, cell)
    ids, labels = torch.randint(0, VOCAB, (2, batch, length))
    models = [(model, torch.optim.AdamW(model.parameters(), fused=True)) for model in (library, ours)]
    times = seconds_in_turn([partial(step, *pair, ids, labels) for pair in models], repeats, warm_up=2)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return *(1000 * statistics.median(values) for values in times), ratio


if __name__ == "__main__":
    print(f"{'cell':5} {'batch x length x hidden':24} {'torch.nn ms':>12} {'ours ms':>9} {'ratio':>6}")
    for cell in sys.argv[1:] or TORCH:
        for batch, length, hidden in SHAPES:
            library_ms, our_ms, ratio = compare(cell, batch, length, hidden)
            size = f"{batch} x {length} x {hidden}"
            print(f"{cell:5} {size:24} {library_ms:12.1f} {our_ms:9.1f} {ratio:6.2f}", flush=True)
