"""Operations of decoder layers with their backward passes written out, device-neutral.

transformers writes a norm, a rotation or a pooling as five to ten operations; autograd then keeps and walks each of
them. A row of a small model is short, so passes over memory and calls, not products, are most of a step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class Norm(torch.autograd.Function):
    """RMS norm over the last axis, computed in float32 and rounded once: x * scale / rms(x) * weight."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor | None, eps: float, scale: float) -> torch.Tensor:
        """x [..., d], weight [d] or None for ones; `scale` is a constant factor that costs nothing here."""
        full = x.float()
        rate = torch.linalg.vector_norm(full, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, rate)
        ctx.scale = scale
        out = full * (rate if scale == 1 else rate * scale)
        return (out if weight is None else out.mul_(weight)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None]:
        """For y = x r w: dx = r (dy w - x r^2 mean(dy w x)), dw = sum over rows of dy x r."""
        x, weight, rate = ctx.saved_tensors
        d, full = x.shape[-1], x.float()
        grad = grad.float() if ctx.scale == 1 else grad.float() * ctx.scale
        product, toward = (grad * full).reshape(-1, d), None
        if weight is None:
            inner = product.sum(-1)
        else:
            toward, inner = (rate.reshape(1, -1) @ product).view(-1).to(weight.dtype), product @ weight.float()
        pull = inner.reshape(rate.shape) * rate.pow(3) / -d
        back = grad * rate if weight is None else (grad * weight).mul_(rate)
        return back.addcmul_(full, pull).to(x.dtype), toward, None, None


def norm(module: Any, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """What `module`, an RMS norm of a transformers class with or without weight, makes of x; times `scale`."""
    eps = module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps
    return Norm.apply(x, getattr(module, "weight", None), eps, scale)


class Rotate(torch.autograd.Function):
    """Rotates the neighbouring pairs at the end of the last axis."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x [..., d]; cos, sin [..., pairs] that broadcast against x, 2 * pairs <= d."""
        cos, sin = cos.float(), sin.float()
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Rotates back."""
        cos, sin = ctx.saved_tensors
        return _rotate(grad, cos, -sin), None, None


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    out = x.clone(memory_format=torch.contiguous_format)
    pairs = 2 * cos.shape[-1]
    even, odd = x[..., -pairs::2].float(), x[..., 1 - pairs :: 2].float()
    out[..., -pairs::2] = torch.addcmul(even * cos, odd, sin, value=-1)
    out[..., 1 - pairs :: 2] = torch.addcmul(odd * cos, even, sin)
    return out


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`Rotate` for x [b, s, (heads,) d] and cos, sin [b or 1, s, pairs] of its positions."""
    return Rotate.apply(x, cos.unsqueeze(2), sin.unsqueeze(2)) if x.dim() == 4 else Rotate.apply(x, cos, sin)


class Pool(torch.autograd.Function):
    """Sum of each window's values weighted by the softmax of their gates, channel by channel.

    With overlap the values are two series: a window takes the first series of the window before and its own second.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, gates: torch.Tensor, overlap: bool) -> torch.Tensor:
        """values, gates [b, windows, r, c] -> [b, windows, c], or c / 2 with overlap."""
        if overlap:
            values, gates = _overlap(values, 0.0), _overlap(gates, float("-inf"))
        share = gates.softmax(2, dtype=torch.float32).to(values.dtype)
        out = (values * share).sum(2)
        ctx.save_for_backward(values, share, out)
        ctx.overlap = overlap
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients of values and gates."""
        values, share, out = ctx.saved_tensors
        toward = share * grad.unsqueeze(2)
        gates = (values - out.unsqueeze(2)).mul_(toward)
        return (_fold(toward), _fold(gates), None) if ctx.overlap else (toward, gates, None)


def _overlap(x: torch.Tensor, empty: float) -> torch.Tensor:
    """[b, windows, r, 2d] -> [b, windows, 2r, d]; what would come before the first window is `empty`."""
    b, windows, r, c = x.shape
    out = x.new_empty((b, windows, 2 * r, c // 2))
    out[:, :, r:], out[:, 1:, :r] = x[..., c // 2 :], x[:, :-1, :, : c // 2]
    out[:, :1, :r] = empty
    return out


def _fold(x: torch.Tensor) -> torch.Tensor:
    """Gradient of `_overlap`."""
    b, windows, r, d = x.shape
    out = x.new_empty((b, windows, r // 2, 2 * d))
    out[..., d:], out[:, :-1, :, :d] = x[:, :, r // 2 :], x[:, 1:, : r // 2]
    out[:, -1:, :, :d] = 0
    return out


def clamped_gate(limit: float, act: nn.Module, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """act(min(gate, limit)) * clamp(up, -limit, limit); hardtanh has one kernel where clamp's backward has four."""
    lowest = torch.finfo(gate.dtype).min
    return act(F.hardtanh(gate, lowest, limit)) * F.hardtanh(up, -limit, limit)
