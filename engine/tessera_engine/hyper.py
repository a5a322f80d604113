"""DeepSeek-V4's hyper-connections, computed with tokens on the last axis and the backward pass written out.

The class works on [..., streams, streams] matrices of 2 x 2 or 4 x 4, where every reduction has a loop of that length,
and keeps each of the 2 * iterations Sinkhorn steps in the autograd graph. With tokens last a step is a few long vector
operations.
"""

from __future__ import annotations

from typing import Any

import torch


def sinkhorn(x: torch.Tensor, iterations: int, eps: float) -> torch.Tensor:
    """Makes matrices doubly stochastic: x [n, n, tokens] > 0, rows on axis 0; columns first, as the class does.

    Returns x and what each of the `2 * iterations - 1` divisions by (sum + eps) made of it.
    """
    kept, small = x.new_empty((2 * iterations, *x.shape)), x.new_full((), eps)
    steps = kept.unbind()
    steps[0].copy_(x)
    for i in range(len(steps) - 1):
        torch.div(steps[i], steps[i].sum(i % 2, keepdim=True).add_(small), out=steps[i + 1])
    return kept


def sinkhorn_back(kept: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Gradient of x. For y = x / (sum x + eps), h = dx * x is dy * y - y sum(dy * y): no division until the end."""
    steps = kept.unbind()
    h = grad * steps[-1]
    for i in range(len(steps) - 2, -1, -1):
        h.addcmul_(steps[i + 1], h.sum(i % 2, keepdim=True), value=-1)
    return h.div_(steps[0])


class Enter(torch.autograd.Function):
    """Weights of one hyper-connection, and the streams collapsed with the first of them."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, base: torch.Tensor, module: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x [tokens, n, d], weight [k, n * d], scale [3], base [k], k = n (n + 2); all but x float32.

        Returns post [tokens, n], comb [tokens, n, n] and the collapsed state [tokens, d], like x.
        """
        tokens, n, _ = x.shape
        flat, eps = x.view(tokens, -1).float(), module.hc_eps
        rate = torch.linalg.vector_norm(flat, dim=1).square_().div_(flat.shape[1]).add_(module.input_norm.eps).rsqrt_()
        mixed = (weight @ flat.t()).mul_(rate)
        scales = torch.cat([scale[0].expand(n), scale[1].expand(n), scale[2].expand(n * n)])
        scaled = torch.addcmul(base.unsqueeze(1), mixed, scales.unsqueeze(1))
        gates = scaled[: 2 * n].sigmoid()
        soft = scaled[2 * n :].view(n, n, tokens).softmax(1)
        kept = sinkhorn(soft + eps, module.hc_sinkhorn_iters, eps)
        pre = (gates[:n] + eps).to(x.dtype)
        ctx.save_for_backward(x, weight, scales, rate, mixed, gates, soft, kept, pre)
        # Contiguous, for the batched products that follow.
        comb = kept[-1].permute(2, 0, 1).to(x.dtype, memory_format=torch.contiguous_format, copy=True)
        return (gates[n:].t() * 2).to(x.dtype).contiguous(), comb, weighted(x, pre)

    @staticmethod
    def backward(
        ctx: Any, post: torch.Tensor, comb: torch.Tensor, grad: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Gradients of streams, weight, scale and base."""
        x, weight, scales, rate, mixed, gates, soft, kept, pre = ctx.saved_tensors
        tokens, n, _ = x.shape
        flat = x.view(tokens, -1).float()
        toward = torch.empty_like(mixed)
        toward[:n], toward[n : 2 * n] = dots(x, grad).t(), post.t()
        toward[n : 2 * n].mul_(2)
        toward[: 2 * n].mul_(gates).mul_(1 - gates)
        h = sinkhorn_back(kept, comb.permute(1, 2, 0).float().contiguous()).mul_(soft)
        torch.addcmul(h, soft, h.sum(1, keepdim=True), value=-1, out=toward[2 * n :].view(n, n, tokens))
        by_row = (toward * mixed).sum(1)
        scale = torch.stack([by_row[:n].sum(), by_row[n : 2 * n].sum(), by_row[2 * n :].sum()])
        base = toward.sum(1)
        toward.mul_(scales.unsqueeze(1))
        pull = (toward * mixed).sum(0).mul_(rate.square()).div_(-flat.shape[1])
        toward.mul_(rate)
        back = torch.empty_like(x)
        torch.mul(grad.unsqueeze(1), pre.t().unsqueeze(2), out=back)
        whole = torch.addmm(back.view(tokens, -1).float(), toward.t(), weight).addcmul_(flat, pull.unsqueeze(1))
        return whole.to(x.dtype).view(x.shape), toward @ flat, scale, base, None


class Leave(torch.autograd.Function):
    """What goes on: stream k is post[k] * out + sum over j of comb[j, k] * stream j."""

    @staticmethod
    def forward(ctx: Any, out: torch.Tensor, x: torch.Tensor, post: torch.Tensor, comb: torch.Tensor) -> torch.Tensor:
        """out [b, s, d], x [b, s, n, d], post [b * s, n], comb [b * s, n, n] -> like x."""
        new, out, x = torch.empty_like(x), out.flatten(0, 1), x.flatten(0, 1)
        ctx.save_for_backward(out, x, post, comb)
        flat = new.view(x.shape)
        torch.mul(out.unsqueeze(1), post.unsqueeze(2), out=flat).baddbmm_(comb.transpose(1, 2), x)
        return new

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Gradients of the inputs."""
        out, x, post, comb = ctx.saved_tensors
        shape, grad = grad.shape, grad.flatten(0, 1)
        back, toward = torch.bmm(comb, grad).view(shape), torch.bmm(x, grad.transpose(1, 2))
        return weighted(grad, post.t()).view(*shape[:2], -1), back, dots(grad, out), toward


def weighted(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of the streams of x [tokens, n, d], in order, with weights [n, tokens] -> [tokens, d]."""
    out = x[:, 0] * weights[0].unsqueeze(1)
    for i in range(1, x.shape[1]):
        out.addcmul_(x[:, i], weights[i].unsqueeze(1))
    return out


def dots(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Products of every stream of x [tokens, n, d] with y [tokens, d], [tokens, n]."""
    return (x * y.unsqueeze(1)).sum(2)


def enter(module: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`Enter` for a hyper-connection of the class and streams [b, s, n, d]; the collapsed state is [b, s, d]."""
    flat = x.reshape(-1, *x.shape[2:])
    post, comb, collapsed = Enter.apply(flat, module.fn.float(), module.scale.float(), module.base.float(), module)
    return post, comb, collapsed.view(*x.shape[:2], -1)


def leave(out: torch.Tensor, x: torch.Tensor, post: torch.Tensor, comb: torch.Tensor) -> torch.Tensor:
    """`Leave` for out [b, s, d] and streams [b, s, n, d]."""
    return Leave.apply(out.contiguous(), x.contiguous(), post, comb)
