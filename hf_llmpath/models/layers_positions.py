"""Implements position encodings: sinusoidal, learned, rotary, and relative.

Attention by itself ignores order: the same tokens in another order give the same outputs in that order.
Sinusoidal and learned positions are added to the embeddings; rotary positions rotate queries and keys
(`ops_fused.rotate`); a relative bias is added to the scores.
"""

import math

import torch
from torch import Tensor, nn


def sinusoidal_positions(position_ids: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns PE(p, 2i) = sin(p / 10000^(2i/size)) and PE(p, 2i+1) = cos(p / 10000^(2i/size)).

    Vaswani et al. 2017, section 3.5.

    Args:
        position_ids: positions, in any shape. Any position has an encoding, because none is learned.
        size: width of the encoding, an even number.
        dtype: dtype of the result.

    Returns:
        A tensor `(*position_ids.shape, size)`.
    """
    # (..., 1) * (size / 2,) -> (..., size / 2)
    angles = position_ids.unsqueeze(-1) * inverse_frequencies(size, 10_000.0, position_ids.device)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (..., size / 2, 2)
    return waves.flatten(-2).to(dtype)  # (..., size / 2, 2) -> (..., size), sines and cosines alternating


def inverse_frequencies(size: int, base: float, device: torch.device | str = "cpu") -> Tensor:
    """Returns base^(-2i/size) for i = 0, ..., size/2 - 1, in radians per position, `(size / 2,)`."""
    return 1.0 / base ** (torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)


class LearnedPositions(nn.Embedding):
    """A table with one learned vector per position, up to a longest sequence. Gehring et al. 2017."""

    def forward(self, position_ids: Tensor) -> Tensor:
        """Maps position_ids `(batch, length)` to `(batch, length, size)`.

        Raises:
            ValueError: the table has no vector for a position.
        """
        # A compiled or exported model cannot branch on the value of a tensor.
        if not torch.compiler.is_compiling() and (last := int(position_ids.max())) >= self.num_embeddings:
            raise ValueError(
                f"the sequence has {last + 1} tokens; this model has learned positions for "
                f"max_position_embeddings ({self.num_embeddings})"
            )
        return super().forward(position_ids)


class RotaryPositions(nn.Module):
    """Computes the angles of rotary positions: θ_i = base^(-2i/d) radians per position for coordinate pair i.

    `ops_fused.rotate` rotates the coordinates i and i + d/2 of a query or key at position p by the angle
    p θ_i. The product of a query at position m and a key at position n then depends only on their contents
    and on n - m. Su et al. 2021, equations 14 to 16; the pairs are laid out as in Llama.

    Args:
        head_dim: the head size d, an even number.
        base: the base of the angles; a larger base makes the slowest pairs rotate more slowly.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0):
        super().__init__()
        self.head_dim, self.base = head_dim, float(base)

    def forward(self, position_ids: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Maps position_ids `(batch, length)` to cosines and sines, each `(batch, 1, length, head_dim)`."""
        frequencies = inverse_frequencies(self.head_dim, self.base, position_ids.device)
        angles = position_ids.unsqueeze(-1) * frequencies  # p θ_i, (batch, length, head_dim / 2)
        # Both halves have the same angles, because coordinate i is paired with i + head_dim / 2.
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)  # (batch, 1, length, head_dim)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def relative_position_bucket(
    relative_position: Tensor, bidirectional: bool = True, num_buckets: int = 32, max_distance: int = 128
) -> Tensor:
    """Assigns distances to buckets that grow wider with the distance. Raffel et al. 2020, section 2.1.

    Each small distance has its own bucket. For larger distances, the buckets grow logarithmically up to
    `max_distance`, and all distances beyond it share the last bucket.

    Args:
        relative_position: position of the key minus position of the query, integers in any shape.
        bidirectional: whether half of the buckets are for keys ahead of the query. Otherwise these keys share
            the bucket of distance 0.
        num_buckets: number of buckets.
        max_distance: the distance from which on all distances share the last bucket.
    """
    offset = torch.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        offset = (relative_position > 0).long() * num_buckets  # keys ahead use the second half
        distance = relative_position.abs()
    else:
        distance = (-relative_position).clamp(min=0)
    exact = num_buckets // 2
    # log(distance / exact) / log(max_distance / exact) grows from 0 at `exact` to 1 at `max_distance`. The
    # clamp avoids the logarithm of 0; distances below `exact` do not use the result anyway.
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    wide = exact + (growth * (num_buckets - exact)).long()
    return offset + torch.where(distance < exact, distance, wide.clamp(max=num_buckets - 1))


class RelativePositionBias(nn.Module):
    """Learns a number per head and bucket, to be added to the scores. Raffel et al. 2020, section 2.1.

    Args:
        num_heads: number of attention heads.
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
        positions = torch.arange(past, past + queries, device=device)  # (queries,)
        # (keys,) - (queries, 1) -> (queries, keys)
        distance = torch.arange(keys, device=device) - positions.unsqueeze(1)
        bucket = relative_position_bucket(distance, self.bidirectional, self.num_buckets, self.max_distance)
        # (queries, keys, heads) -> (heads, queries, keys) -> (1, heads, queries, keys)
        return self.bias(bucket).permute(2, 0, 1).unsqueeze(0)
