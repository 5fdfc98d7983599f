"""Where a token stands: sinusoidal, learned, rotary and relative positions.

Attention by itself sees a set: the same tokens in another order give the same outputs in that order.
Sinusoidal and learned positions are added to the embeddings; rotary positions turn queries and keys; a
relative bias is added to the scores.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from .ops_gradients import learns


def sinusoidal_positions(position_ids: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i/size)), PE(p, 2i+1) = cos(p / 10000^(2i/size)). Vaswani et al. 2017,
    section 3.5.

    Args:
        position_ids: positions, any shape; any number, for nothing is learned.
        size: even.

    Returns:
        `(*position_ids.shape, size)`.
    """
    angles = position_ids.unsqueeze(-1) * inverse_frequencies(size, 10_000.0, position_ids.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(dtype)


def inverse_frequencies(size: int, base: float, device: torch.device | str = "cpu") -> Tensor:
    """base^(-2i/size) for i = 0 ... size/2 - 1: radians per position, `(size / 2,)`."""
    return 1.0 / base ** (torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)


class LearnedPositions(nn.Embedding):
    """A vector per position, learned like those of the tokens; there are none beyond the last. Gehring et
    al. 2017.
    """

    def forward(self, position_ids: Tensor) -> Tensor:
        """position_ids `(batch, length)` -> `(batch, length, size)`.

        Raises:
            ValueError: a position that this model has no vector for.
        """
        if not torch.compiler.is_compiling() and (last := int(position_ids.max())) >= self.num_embeddings:
            raise ValueError(
                f"the sequence has {last + 1} tokens; this model has learned positions for max_position_embeddings "
                f"({self.num_embeddings})"
            )
        return super().forward(position_ids)


class RotaryPositions(nn.Module):
    """Turns each pair of coordinates (i, i + d/2) of a query or key at position p by the angle p θ_i, θ_i
    = base^(-2i/d).

    The product of a query at m with a key at n then depends on their contents and on n - m alone. Su et
    al. 2021, equations 14 to 16; pairs laid out as in Llama.

    Args:
        head_dim: d, even.
        base: of the angles; the larger, the slower the slowest pair turns.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0):
        super().__init__()
        self.head_dim, self.base = head_dim, float(base)

    def forward(self, position_ids: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """position_ids `(batch, length)` -> cosines and sines for `rotate`, each `(batch, 1, length,
        head_dim)`.
        """
        angles = position_ids.unsqueeze(-1) * inverse_frequencies(
            self.head_dim, self.base, position_ids.device
        )
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns queries or keys x `(batch, heads, length, head_dim)`: (a, b) -> (a cos - b sin, b cos + a
    sin) in every pair.
    """
    if learns(x):
        return _Turned.apply(x, cos, sin)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class _Turned(torch.autograd.Function):
    """The gradient of a turn is the turn back: nothing but the angle is kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, sin, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, direction: int) -> Tensor:
    half = x.shape[-1] // 2
    cos, sin = cos.to(x.dtype), sin[..., :half].to(x.dtype)
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin, value=-direction)
    turned[..., half:].addcmul_(x[..., :half], sin, value=direction)
    return turned


def relative_position_bucket(
    relative_position: Tensor, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """Which bucket a distance falls into: one each for small ones, logarithmically wider ones up to
    `max_distance`, and one for all beyond. Raffel et al. 2020, section 2.1.

    Args:
        relative_position: position of the key minus position of the query, integers of any shape.
        bidirectional: half of the buckets are for keys ahead; else these share the bucket of distance 0.
        num_buckets: number of buckets.
        max_distance: where the last bucket begins.
    """
    offset = torch.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        offset = (relative_position > 0).long() * num_buckets
        distance = relative_position.abs()
    else:
        distance = (-relative_position).clamp(min=0)
    exact = num_buckets // 2
    # Small distances do not need the logarithm: clamped, so that it has a value for 0 too.
    share = torch.log(distance.clamp(min=1).float() / exact) / math.log(
        max_distance / exact
    )  # 1 at max_distance
    wide = exact + (share * (num_buckets - exact)).long()
    return offset + torch.where(distance < exact, distance, wide.clamp(max=num_buckets - 1))


class RelativePositionBias(nn.Module):
    """A learned number per head and bucket of distance, added to the scores. Raffel et al. 2020, section 2.1.

    Args:
        num_heads: attention heads.
        bidirectional, num_buckets, max_distance: see `relative_position_bucket`.
    """

    def __init__(
        self, num_heads: int, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
    ):
        super().__init__()
        self.bidirectional, self.num_buckets, self.max_distance = bidirectional, num_buckets, max_distance
        self.bias = nn.Embedding(num_buckets, num_heads)

    def forward(self, queries: int, keys: int, past: int = 0) -> Tensor:
        """The bias `(1, heads, queries, keys)` of queries at positions past, past + 1, ... on keys at 0,
        1, ...
        """
        device = self.bias.weight.device
        positions = torch.arange(past, past + queries, device=device)
        distance = torch.arange(keys, device=device) - positions.unsqueeze(1)
        bucket = relative_position_bucket(distance, self.bidirectional, self.num_buckets, self.max_distance)
        return self.bias(bucket).permute(2, 0, 1).unsqueeze(0)
