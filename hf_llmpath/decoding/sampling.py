"""What the next token is drawn from: temperature, top-k and top-p, and the draw itself.

Each takes logits `(batch, vocab_size)` and returns logits of the same shape, -inf where a token is ruled
out. Together, in this order, they are what `generate(do_sample=True)` does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError


def with_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits / temperature: below 1 the likely tokens become likelier, above 1 all become alike (Ackley
    et al. 1985).
    """
    return logits / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Rules out all but the k likeliest tokens, and those as likely as the k-th (Fan et al. 2018)."""
    least = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Nucleus sampling: keeps the fewest of the likeliest tokens whose probabilities reach p (Holtzman et
    al. 2019).

    From the least likely up, a token goes while it and those before it have 1 - p or less together; the
    likeliest stays.
    """
    ascending, order = logits.sort(dim=-1)
    goes = ascending.softmax(-1).cumsum(-1) <= 1 - p
    goes[:, -1] = False
    return logits.masked_fill(goes.scatter(1, order, goes), -torch.inf)


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen.

    Attributes:
        temperature, top_k, top_p: as above; 1, 0 and 1 change nothing.
        greedy: take the likeliest token instead of drawing one.
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
                "more than 0; for the likeliest token each time, decode greedily",
            ),
            ("top_k", self.top_k < 0, "1 or more, or 0 for all tokens"),
            ("top_p", not 0 < self.top_p <= 1, "more than 0 and at most 1"),
        ):
            if wrong:
                raise UserError(f"{name} is {getattr(self, name)}; it must be {right}")

    def logits(self, logits: Tensor) -> Tensor:
        """Those that the token is drawn from."""
        if self.temperature != 1:
            logits = with_temperature(logits, self.temperature)
        if self.top_k:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        return logits

    def chooser(self, generator: torch.Generator | None = None) -> Callable[[Tensor], Tensor]:
        """Function from logits `(batch, vocab_size)` to tokens `(batch,)`; draws come from `generator`,
        or torch's own.
        """

        def draw(logits: Tensor) -> Tensor:
            probabilities = self.logits(logits.float()).softmax(-1)
            return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)

        return (lambda logits: logits.argmax(-1)) if self.greedy else draw


GREEDY = Sampling(greedy=True)
