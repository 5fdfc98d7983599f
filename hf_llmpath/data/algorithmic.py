"""Tasks whose answer is known by rule: probes of what an architecture can remember."""

import torch
from torch import Tensor


def adding_problem(examples: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add the two marked numbers of a sequence (Hochreiter & Schmidhuber 1997, section 5.4).

    Every step shows a number drawn evenly from [0, 1] and a marker; the marker is 1 at one place in the first half and
    at one in the second. Always answering 1 gives a mean squared error of 1/6.

    Args:
        examples: number of sequences.
        length: steps in a sequence, at least 2.
        generator: source of randomness.

    Returns:
        inputs `(examples, length, 2)` and targets `(examples,)`.
    """
    half = length // 2
    numbers = torch.rand(examples, length, generator=generator)
    first = torch.randint(0, half, (examples,), generator=generator)
    second = torch.randint(half, length, (examples,), generator=generator)
    rows = torch.arange(examples)
    markers = torch.zeros(examples, length)
    markers[rows, first] = markers[rows, second] = 1.0
    return torch.stack([numbers, markers], dim=-1), numbers[rows, first] + numbers[rows, second]
