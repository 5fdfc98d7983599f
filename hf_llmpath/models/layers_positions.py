"""Positions tell attention where a token stands: sinusoidal, learned, rotary, and relative ones.

Attention by itself sees a set: the same tokens in another order give the same outputs in that order.
Sinusoidal and learned positions are added to the embeddings; rotary positions rotate queries and keys
(`ops_fused.rotate`); a relative bias is added to the scores.
"""

import math

import torch
from torch import Tensor, nn


def sinusoidal_positions(position_ids: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Fixed waves: PE(p, 2i) = sin(p / 10000^(2i/size)), PE(p, 2i+1) = cos(p / 10000^(2i/size)).

    Vaswani et al. 2017, section 3.5.

    Args:
        position_ids: positions of any shape. They may be as large as you like, because nothing is learned.
        size: width of the result, even.

    Returns:
        A tensor `(*position_ids.shape, size)`.
    """
    angles = position_ids.unsqueeze(-1) * inverse_frequencies(size, 10_000.0, position_ids.device)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (..., size / 2, 2)
    return waves.flatten(-2).to(dtype)  # (..., size), sines and cosines in turn


def inverse_frequencies(size: int, base: float, device: torch.device | str = "cpu") -> Tensor:
    """Returns base^(-2i/size) for i = 0 ... size/2 - 1, in radians per position, `(size / 2,)`."""
    return 1.0 / base ** (torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)


class LearnedPositions(nn.Embedding):
    """One learned vector per position, and none beyond the last. Gehring et al. 2017."""

    def forward(self, position_ids: Tensor) -> Tensor:
        """Maps position_ids `(batch, length)` to `(batch, length, size)`.

        Raises:
            ValueError: there is no vector for a position.
        """
        # A compiled or exported model cannot look at the value of a tensor.
        if not torch.compiler.is_compiling() and (last := int(position_ids.max())) >= self.num_embeddings:
            raise ValueError(
                f"the sequence has {last + 1} tokens; this model has learned positions for "
                f"max_position_embeddings ({self.num_embeddings})"
            )
        return super().forward(position_ids)


class RotaryPositions(nn.Module):
    """The angles of rotary positions: θ_i = base^(-2i/d) radians per position for pair i of coordinates.

    `ops_fused.rotate` rotates the coordinates i and i + d/2 of a query or key at position p by p θ_i. The
    product of a query at m and a key at n then depends on their contents and on n - m alone. Su et al. 2021,
    equations 14 to 16; the pairs are laid out as in Llama.

    Args:
        head_dim: d, even.
        base: of the angles; a larger base makes the slowest pair rotate more slowly.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0):
        super().__init__()
        self.head_dim, self.base = head_dim, float(base)

    def forward(self, position_ids: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Maps position_ids `(batch, length)` to cosines and sines, each `(batch, 1, length, head_dim)`."""
        frequencies = inverse_frequencies(self.head_dim, self.base, position_ids.device)
        angles = position_ids.unsqueeze(-1) * frequencies  # (batch, length, head_dim / 2)
        # Both halves have the same angles: coordinate i is paired with i + head_dim / 2.
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)  # (batch, 1, length, head_dim)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def relative_position_bucket(
    relative_position: Tensor, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """Assigns distances to buckets that grow wider with the distance. Raffel et al. 2020, section 2.1.

    Small distances have a bucket each. Beyond them the buckets grow logarithmically up to `max_distance`, and
    all larger distances share the last one.

    Args:
        relative_position: position of the key minus position of the query, integers of any shape.
        bidirectional: half of the buckets are for keys ahead; otherwise these share the bucket of distance 0.
        num_buckets: number of buckets.
        max_distance: where the last bucket starts.
    """
    offset = torch.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        offset = (relative_position > 0).long() * num_buckets
        distance = relative_position.abs()
    else:
        distance = (-relative_position).clamp(min=0)
    exact = num_buckets // 2
    # From 0 at `exact` to 1 at `max_distance`. Clamped because a distance of 0 has no logarithm; small
    # distances do not use the result anyway.
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    wide = exact + (growth * (num_buckets - exact)).long()
    return offset + torch.where(distance < exact, distance, wide.clamp(max=num_buckets - 1))


class RelativePositionBias(nn.Module):
    """A learned number per head and bucket, added to the scores. Raffel et al. 2020, section 2.1.

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
        """Returns the bias `(1, heads, queries, keys)`; queries start at position `past`, keys at 0."""
        device = self.bias.weight.device
        positions = torch.arange(past, past + queries, device=device)
        distance = torch.arange(keys, device=device) - positions.unsqueeze(1)  # (queries, keys)
        bucket = relative_position_bucket(distance, self.bidirectional, self.num_buckets, self.max_distance)
        return self.bias(bucket).permute(2, 0, 1).unsqueeze(0)  # (queries, keys, heads) -> (1, heads, ...)
