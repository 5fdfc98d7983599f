"""Samples from logits: temperature, top-k, top-p, and the draw itself.

Each function takes logits `(batch, vocab_size)` and returns logits of the same shape, with -inf for tokens
that it rules out. Applied in this order, the functions equal `generate(do_sample=True)`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


def with_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divides the logits by the temperature (Ackley et al. 1985).

    A temperature below 1 makes probable tokens more probable; above 1, it makes them less probable.
    """
    return logits / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps the k most probable tokens and any that tie with the k-th (Fan et al. 2018)."""
    least = logits.topk(min(k, logits.shape[-1])).values[:, -1:]  # the k-th logit, (batch, k) -> (batch, 1)
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keeps the fewest tokens whose probabilities sum to p or more: the nucleus (Holtzman et al. 2019).

    Starting from the least probable one, the function drops tokens while their probabilities sum to 1 - p or
    less. The most probable token always stays.
    """
    ascending, order = logits.sort(dim=-1)  # (batch, vocab_size) each
    dropped = ascending.softmax(-1).cumsum(-1) <= 1 - p  # (batch, vocab_size), in ascending order
    dropped[:, -1] = False  # rounding could otherwise drop every token
    # The scatter puts the marks back in the order of the vocabulary, (batch, vocab_size).
    return logits.masked_fill(dropped.scatter(1, order, dropped), -torch.inf)


@dataclass(frozen=True)
class Sampling:
    """The rule that chooses a token.

    Attributes:
        temperature, top_k, top_p: see the functions above; 1, 0, and 1 change nothing.
        greedy: whether to take the most probable token instead of drawing one.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    greedy: bool = False

    def __post_init__(self) -> None:
        for name, wrong, right in (
            (
                "temperature",
                self.temperature <= 0,
                "more than 0; to take the likeliest token, decode greedily",
            ),
            ("top_k", self.top_k < 0, "1 or more, or 0 for all tokens"),
            ("top_p", not 0 < self.top_p <= 1, "more than 0 and at most 1"),
        ):
            if wrong:
                raise UserError(f"{name} is {getattr(self, name)}; it must be {right}")

    def logits(self, logits: Tensor) -> Tensor:
        """Returns the logits of the distribution to draw from, in the same shape."""
        if self.temperature != 1:
            logits = with_temperature(logits, self.temperature)
        if self.top_k:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        return logits

    def chooser(self, generator: torch.Generator | None = None) -> Callable[[Tensor], Tensor]:
        """Returns a function that chooses tokens `(batch,)` from logits `(batch, vocab_size)`."""

        def draw(logits: Tensor) -> Tensor:
            probabilities = self.logits(logits.float()).softmax(-1)  # (batch, vocab_size)
            # (batch, 1) -> (batch,)
            return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

        return (lambda logits: logits.argmax(-1)) if self.greedy else draw


GREEDY = Sampling(greedy=True)
