"""DeepSeek-V4's hyper-connection weights, computed with tokens on the last axis.

The class works on [..., streams, streams] matrices of 2 x 2 or 4 x 4, where every reduction has a loop of that length,
and keeps each of the 2 * iterations Sinkhorn steps in the autograd graph. With tokens last a step is a few long vector
operations, and the backward pass is written out. On one CPU core this takes half of the class's time.
"""

from __future__ import annotations

from typing import Any

import torch


class Sinkhorn(torch.autograd.Function):
    """Makes matrices doubly stochastic: x [n, n, tokens] > 0, rows on axis 0; columns first, as the class does."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, iterations: int, eps: float) -> torch.Tensor:
        """`2 * iterations - 1` normalisations, each a division by (sum + eps)."""
        kept: list[torch.Tensor] = []
        for i in range(2 * iterations - 1):
            total = x.sum(i % 2, keepdim=True).add_(eps)
            x = x / total
            kept += [x, total]
        ctx.save_for_backward(*kept)
        return x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """For y = x / (sum x + eps): dx = (dy - sum(dy * y)) / (sum x + eps)."""
        kept = ctx.saved_tensors
        for i in reversed(range(len(kept) // 2)):
            y, total = kept[2 * i], kept[2 * i + 1]
            grad = (grad - (grad * y).sum(i % 2, keepdim=True)).div_(total)
        return grad, None, None


class Project(torch.autograd.Function):
    """RMS-normalised projection: flat [tokens, m], weight [k, m] -> [k, tokens]; the normalised input is never made."""

    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """weight @ (flat / rms(flat)).T"""
        rate = torch.linalg.vector_norm(flat, dim=1).square_().div_(flat.shape[1]).add_(eps).rsqrt_()
        raw = weight @ flat.t()
        ctx.save_for_backward(flat, weight, rate, raw)
        return raw * rate

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Gradients of input and weight."""
        flat, weight, rate, raw = ctx.saved_tensors
        scaled = grad * rate
        pull = (grad * raw).sum(0) * rate.pow(3) / -flat.shape[1]
        return torch.addcmul(scaled.t() @ weight, flat, pull.unsqueeze(1)), scaled @ flat, None


class Collapse(torch.autograd.Function):
    """Weighted sum of streams: weights [n, tokens], streams [tokens, n, d] -> [tokens, d]."""

    @staticmethod
    def forward(ctx: Any, weights: torch.Tensor, streams: torch.Tensor) -> torch.Tensor:
        """Streams are added in order."""
        ctx.save_for_backward(weights, streams)
        out = streams[:, 0] * weights[0].unsqueeze(1)
        for i in range(1, streams.shape[1]):
            out.addcmul_(streams[:, i], weights[i].unsqueeze(1))
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of weights and streams."""
        weights, streams = ctx.saved_tensors
        toward = torch.bmm(streams, grad.unsqueeze(2)).squeeze(2).t()
        # Into fresh storage: a product would take over the transposed strides.
        back = torch.empty(streams.shape, dtype=streams.dtype, device=streams.device)
        return toward, torch.mul(weights.t().unsqueeze(2), grad.unsqueeze(1), out=back)


def forward(module: Any, streams: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the class returns for streams [b, s, n, d]: post [b, s, n], comb [b, s, n, n], collapsed [b, s, d]."""
    b, s, n, d = streams.shape
    flat = streams.reshape(b * s, n * d)
    mixed = Project.apply(flat.float(), module.fn.float(), module.input_norm.eps)
    scale, base = module.scale.float(), module.base.float().unsqueeze(1)
    pre = torch.sigmoid(mixed[:n] * scale[0] + base[:n]) + module.hc_eps
    post = 2 * torch.sigmoid(mixed[n : 2 * n] * scale[1] + base[n : 2 * n])
    comb = (mixed[2 * n :] * scale[2] + base[2 * n :]).view(n, n, b * s).softmax(1) + module.hc_eps
    comb = Sinkhorn.apply(comb, module.hc_sinkhorn_iters, module.hc_eps)
    collapsed = Collapse.apply(pre.to(streams.dtype), flat.view(b * s, n, d)).view(b, s, d)
    # Contiguous, or what is computed from them takes over the order of their axes.
    return post.t().contiguous().view(b, s, n), comb.permute(2, 0, 1).contiguous().view(b, s, n, n), collapsed
