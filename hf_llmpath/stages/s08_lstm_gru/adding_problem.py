"""Implements the adding problem, a probe of how long a recurrent cell can remember."""

from typing import Any

import torch
from torch import nn
from transformers import set_seed

from ...data.algorithmic import adding_problem
from ...models.configuration_rnn import LLMPathRNNConfig
from ...models.modeling_rnn import LLMPathRNNModel
from ...runs import Job
from ...training.hardware import one_thread
from . import LSTMGRUSettings

SOLVED = 0.01  # mean squared error of a cell that has solved the problem
TEST_EXAMPLES = 500
HIDDEN_SIZE, BATCH_SIZE = 64, 64
EVERY = 25  # steps between two measurements of the test error


class AddingModel(nn.Module):
    """Runs a recurrent layer over (number, marker) pairs and predicts the sum linearly from its last state.

    Chrono initialization gives the LSTM memory spans of all lengths up to the length of the sequence: the
    forget gate biases are log(u) with u drawn uniformly from [1, length - 1], and the input gate biases are
    the negatives of the forget gate biases (Tallec & Ollivier 2018, "Can recurrent neural networks warp
    time?").
    """

    def __init__(self, cell: str, hidden_size: int, length: int):
        super().__init__()
        # A vocabulary of 0 leaves out the embedding table: the inputs are vectors already.
        config = LLMPathRNNConfig(cell=cell, vocab_size=0, embedding_size=2, hidden_size=hidden_size)
        self.recurrent = LLMPathRNNModel(config)
        self.head = nn.Linear(hidden_size, 1)
        if cell == "lstm":
            # b_f = log(u), b_i = -log(u): a forget gate of 1 - 1/(1 + u) remembers for about u steps.
            spans = torch.empty(hidden_size).uniform_(1, length - 1).log()  # (hidden,)
            with torch.no_grad():
                # (2 * hidden,): the input gate biases, followed by the forget gate biases.
                self.recurrent.layers[0].bias_ih[: 2 * hidden_size] = torch.cat([-spans, spans])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps inputs `(batch, length, 2)` to predicted sums `(batch,)`."""
        # (batch, length, hidden)
        states = self.recurrent(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return self.head(states[:, -1]).squeeze(-1)  # (batch, hidden) -> (batch, 1) -> (batch,)


def train_adding(settings: LSTMGRUSettings, cell: str, steps: int, seed: int, job: Job) -> dict[str, Any]:
    """Trains a cell on the adding problem, with fresh examples at every step.

    Training ends when the test error is below half of `SOLVED` or after `steps` steps.

    Returns:
        A dictionary with the `mean_squared_error` on 500 unseen examples, the `steps` taken, and `curve`, a
        list of `[step, error]` pairs.
    """
    set_seed(seed)  # for the initial weights; the generators below draw the examples
    generator = torch.Generator().manual_seed(seed)
    length = settings.adding_length
    # A seed of its own keeps the test examples apart from the training examples.
    # (examples, length, 2) and (examples,)
    held_out, answers = adding_problem(TEST_EXAMPLES, length, torch.Generator().manual_seed(10_000 + seed))
    model = AddingModel(cell, HIDDEN_SIZE, length)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.adding_learning_rate)
    curve: list[list[float]] = []

    def test_error() -> float:
        model.eval()
        with torch.no_grad():
            error = (model(held_out) - answers).square().mean().item()
        model.train()
        return error

    with job.progress.task(job.name, steps) as progress, one_thread():
        for step in range(1, steps + 1):
            # (batch, length, 2) and (batch,)
            inputs, targets = adding_problem(BATCH_SIZE, length, generator)
            loss = (model(inputs) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            # A gradient through `length` steps can explode (Pascanu et al. 2013).
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % EVERY == 0 or step == steps:
                curve.append([step, test_error()])
                progress.update(step, loss=curve[-1][1])
                if curve[-1][1] < SOLVED / 2:  # a margin, because the error fluctuates
                    break
    return {"mean_squared_error": curve[-1][1], "steps": step, "curve": curve}
