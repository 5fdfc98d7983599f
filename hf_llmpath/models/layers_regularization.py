"""Implements dropout, batch normalization, layer normalization, and max-norm from scratch.

The layers have the parameters, buffers, and defaults of their namesakes in `torch.nn`, so weights can be
copied in both directions, and they equal their namesakes in values, gradients, and running statistics. The
normalizations share a hand-written backward pass (`Normalization`): it is half of the lesson, and it is
faster than autograd through every step of the formula.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def keep_mask(like: Tensor, keep: float) -> Tensor:
    """Draws ones with probability `keep`, else zeros, in the shape and dtype of `like` and on its device.

    Like `bernoulli_`, the function compares a fraction of 53 random bits with `keep`. Drawing the bits in
    bulk takes less than half of the time on a CPU.
    """
    # The full range of 64-bit integers makes every bit random; the lowest 53 form the fraction.
    bits = torch.empty(like.shape, dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return (bits.bitwise_and_(2**53 - 1) < math.ceil(keep * 2**53)).to(like.dtype)


class Dropout(nn.Module):
    """Switches values off at random in training: y = x m / (1 - p), where m is 0 with probability p, else 1.

    The division preserves the expected value, so eval mode returns its input unchanged. The gradient passes
    through the same mask. Where PyTorch draws from its Mersenne Twister (on CPUs, unless MKL's generator is
    used), the mask equals, bit for bit, the mask of `torch.nn.Dropout` in the same state of the generator.
    Elsewhere it has the same distribution.

    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.

    Args:
        p: the probability that a value is switched off.
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p ({p}) must be a probability, from 0 to 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Maps x of any shape to the same shape."""
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        if keep == 0:  # avoid dividing by 0; the product keeps x in the graph, with a gradient of 0
            return x * 0
        return x * keep_mask(x, keep).div_(keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Normalization(Function):
    """Computes y = w n + b, n = (x - m) / √(v + eps), with mean m and biased variance v over a dimension.

    Backward: m and v depend on every x in the dimension. Shifting or scaling all x alike does not change n,
    so these two directions drop out of the gradient g at n. With E the mean over the dimension:

        dx = (g - E[g] - n E[g n]) / √(v + eps)

    Ioffe & Szegedy 2015, section 3.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, dim, eps):
        """Normalizes x `(rows, units)` with weight and bias `(units,)`.

        The statistics are per unit if `dim` is 0 and per row if it is 1. Returns y `(rows, units)`, and m and
        v without the dimension `dim`; m and v carry no gradient.
        """
        mean = x.mean(dim, keepdim=True)  # (1, units) or (rows, 1)
        n = x - mean  # (rows, units)
        variance = n.square().mean(dim, keepdim=True)  # (1, units) or (rows, 1)
        scale = (variance + eps).rsqrt_()  # 1 / √(v + eps)
        n.mul_(scale)  # in place: n is the only tensor of this size that backward needs
        mean, variance = mean.squeeze(dim), variance.squeeze(dim)  # (units,) or (rows,)
        ctx.save_for_backward(n, scale, weight)
        ctx.dim = dim
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(bias, n, weight), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _mean, _variance):
        n, scale, weight = ctx.saved_tensors
        count = n.shape[ctx.dim]
        product = grad * n  # (rows, units)
        grad_weight, grad_bias = product.sum(0), grad.sum(0)  # dw = Σ dy n, db = Σ dy, each (units,)
        if ctx.dim == 0:
            # w is constant along dimension 0, so E[g n] = w grad_weight / count, E[g] = w grad_bias / count.
            grad_x = torch.addcmul(grad, n, grad_weight, value=-1 / count)
            grad_x.sub_(grad_bias / count).mul_(weight * scale)
        else:
            # w varies along dimension 1, so both means are products with w / count:
            # (rows, units) @ (units,) -> (rows,).
            mean_gn, mean_g = product @ (weight / count), grad @ (weight / count)
            # The buffer of `product` is free from here on; [:, None] broadcasts (rows, 1) over the units.
            grad_x = torch.mul(grad, weight, out=product).addcmul_(n, mean_gn[:, None], value=-1)
            grad_x.sub_(mean_g[:, None]).mul_(scale)
        return grad_x, grad_weight, grad_bias, None, None


class BatchNorm(nn.Module):
    """Batch normalization, as `torch.nn.BatchNorm1d`: gives each unit mean 0 and variance 1 over the batch.

    Training mode normalizes by the mean and variance of the batch and updates the running statistics:
    running ← (1 - momentum) running + momentum batch, with the unbiased variance. Eval mode normalizes by the
    running statistics, so the output for one example does not depend on the others. The weight and the bias
    learn the best scale and shift.

    Ioffe & Szegedy, "Batch Normalization", 2015, algorithms 1 and 2.

    Args:
        num_features: number of units.
        eps: a number added to the variance, which prevents a division by zero.
        momentum: the weight of a new batch in the running statistics; None for the plain mean of all batches.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Maps x `(batch, units)` or `(batch, units, length)` to the same shape.

        Raises:
            ValueError: x has another shape, or a training batch has only one value per unit, hence no
                variance.
        """
        if x.dim() not in (2, 3) or x.shape[1] != self.num_features:
            raise ValueError(
                f"expected (batch, {self.num_features}) or (batch, {self.num_features}, length), "
                f"got {tuple(x.shape)}"
            )
        # (batch, units, length) -> (batch * length, units), and back
        rows = x if x.dim() == 2 else x.transpose(1, 2).reshape(-1, self.num_features)
        y = self._normalize(rows.to(self.weight.dtype)).to(x.dtype)
        return y if x.dim() == 2 else y.view(x.shape[0], -1, self.num_features).transpose(1, 2)

    def _normalize(self, x: Tensor) -> Tensor:
        if not self.training:
            # One product and one sum per value: (x - mean) scale + b = x scale + (b - mean scale).
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            return torch.addcmul(self.bias - self.running_mean * scale, x, scale)
        count = len(x)
        if count == 1:
            raise ValueError("batch normalization needs more than one value per unit in a training batch")
        y, mean, variance = Normalization.apply(x, self.weight, self.bias, 0, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)  # the unbiased variance
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(nn.Module):
    """Layer normalization, as `torch.nn.LayerNorm`: gives each example mean 0 and variance 1 over its units.

    It needs neither other examples nor running statistics, so training mode and eval mode are the same.

    Ba, Kiros & Hinton, "Layer Normalization", 2016, equation 3.

    Args:
        normalized_shape: the size of the last dimension, or the sizes of the last dimensions.
        eps: a number added to the variance, which prevents a division by zero.
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5):
        super().__init__()
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(self.normalized_shape))
        self.bias = nn.Parameter(torch.zeros(self.normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Maps x `(..., *normalized_shape)` to the same shape.

        Raises:
            ValueError: x ends in another shape.
        """
        dims = len(self.normalized_shape)
        if tuple(x.shape[-dims:]) != self.normalized_shape:
            raise ValueError(f"expected a tensor that ends in {self.normalized_shape}, got {tuple(x.shape)}")
        rows = x.reshape(-1, self.weight.numel()).to(self.weight.dtype)  # (rows, units)
        y, _, _ = Normalization.apply(rows, self.weight.flatten(), self.bias.flatten(), 1, self.eps)
        return y.view(x.shape).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


@torch.no_grad()
def max_norm_(weights: Iterable[Tensor], limit: float) -> None:
    """Applies the max-norm constraint after an optimizer step: w ← w min(1, c / |w|).

    The vector of the weights that enter a unit is limited to the length c. Unlike weight decay, the
    constraint does not change shorter vectors, so a high learning rate can explore without the weights
    blowing up. Srebro & Shraibman 2005; with dropout, Srivastava et al. 2014, section 5.1.

    Args:
        weights: each `(units, inputs)`, changed in place.
        limit: c.
    """
    for weight in weights:
        lengths = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # (units, 1)
        if bool((lengths > limit).any()):  # after most steps, no weight vector is too long
            weight.mul_((limit / lengths).clamp_(max=1))
