"""DeepSeek-V4's decoder layer for training: the class's parameters and formulas, without a cache.

All heads share one key that is also the value, so the scores of all heads are one matrix product per row instead of a
copy of the keys per head. The sink is a key of zeros with a score of its own, so plain softmax serves. Rows longer than
two windows are computed in blocks of one window: s * 2w scores instead of s * s. Heads stay behind tokens throughout,
so no block is ever transposed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from tessera_engine import fused, hyper, losses
from tessera_engine.trace import Trace, add_loss


class Attend(torch.autograd.Function):
    """Sliding-window attention over shared keys = values, plus entries that each query sees or not, plus a sink."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, entries: torch.Tensor, bias: torch.Tensor, sinks: torch.Tensor,
        window: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """q [b, s, h, d] (scaled), k [b, s, d], entries [b, t, d], bias [b, s, t] of 0 or -inf, sinks [h].

        Returns the output [b, s, h, d] and the probabilities [b, n, w, h, span + t + 1] of n blocks of w queries.
        """
        b, s, h, d = q.shape
        t = entries.shape[1]
        banded = s % window == 0 and s > 2 * window
        w = window if banded else s
        n, span = s // w, 2 * w if banded else s
        keys = k.new_empty((b, n, span + t + 1, d))
        own = k.view(b, n, w, d)
        if banded:
            keys[:, 0, :w], keys[:, 1:, :w] = 0, own[:, :-1]
        keys[:, :, span - w : span], keys[:, :, span:-1], keys[:, :, -1] = own, entries.unsqueeze(1), 0
        queries = q.view(b * n, w * h, d)
        scores = torch.bmm(queries, keys.view(b * n, -1, d).transpose(1, 2)).view(b, n, w, h, -1)
        scores[..., :span].add_(band(n, w, span, window, q.device).unsqueeze(2))
        scores[..., span:-1].add_(bias.view(b, n, w, 1, t))
        scores[..., -1] = sinks
        shares = scores.softmax(-1)
        out = torch.bmm(shares.view(b * n, w * h, -1), keys.view(b * n, -1, d))
        ctx.save_for_backward(queries, keys, shares)
        ctx.mark_non_differentiable(shares)
        ctx.set_materialize_grads(False)
        return out.view(b, s, h, d), shares

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor, _: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, torch.Tensor, None]:
        """The sink's key is zero, so the gradient of its score needs no product."""
        queries, keys, shares = ctx.saved_tensors
        b, n, w, h, span = shares.shape
        d, flat = keys.shape[-1], shares.view(b * n, w * h, span)
        out = grad.reshape(b * n, w * h, d)
        scores = torch.bmm(out, keys.view(b * n, -1, d).transpose(1, 2))
        scores = torch.ops.aten._softmax_backward_data(scores, flat, -1, flat.dtype)
        toward = torch.bmm(flat.transpose(1, 2), out).baddbmm_(scores.transpose(1, 2), queries).view(keys.shape)
        span = w if n == 1 else 2 * w
        own = toward[:, :, span - w : span]
        if n > 1:
            own[:, :-1] += toward[:, 1:, :w]
        back = torch.bmm(scores, keys.view(b * n, -1, d)).view(b, n * w, h, d)
        sinks = scores.view(b * n * w, h, -1)[..., -1].sum(0)
        return back, own.reshape(b, n * w, d), toward[:, :, span:-1].sum(1), None, sinks, None


def band(n: int, w: int, span: int, window: int, device: torch.device) -> torch.Tensor:
    """[n, w, span]: 0 where a query of a block sees a key, -inf where the key is later, too old, or does not exist."""
    gap = torch.arange(w, device=device)[:, None] + (span - w) - torch.arange(span, device=device)
    seen = ((gap >= 0) & (gap < window)).repeat(n, 1, 1)
    if span > w:
        seen[0, :, :w] = False
    return torch.zeros(seen.shape, device=device).masked_fill_(~seen, float("-inf"))


def compress(module: Any, x: torch.Tensor, overlap: bool) -> torch.Tensor:
    """Entries [b, t, d] of a compressor or indexer of the class: one for each whole window of x [b, s, hidden]."""
    rate = module.compress_rate
    windows = x.shape[1] // rate
    whole = x[:, : windows * rate]
    values, gates = module.kv_proj(whole), module.gate_proj(whole)
    shape = (x.shape[0], windows, rate, values.shape[-1])
    pooled = fused.Pool.apply(values.view(shape), gates.view(shape) + module.position_bias, overlap)
    positions = (torch.arange(windows, device=x.device) * rate).unsqueeze(0)
    cos, sin = module.rotary_emb(pooled, position_ids=positions, layer_type=module.rope_layer_type)
    return fused.rotate(fused.norm(module.kv_norm, pooled), cos, sin)


def index(module: Any, x: torch.Tensor, residual: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The indexer's scores [b, s, t] in float32; x [b, s, hidden], residual [b, s, lora]."""
    b, s, _ = x.shape
    entries, scorer = compress(module, x, overlap=True).float(), module.scorer
    q = fused.rotate(module.q_b_proj(residual).view(b, s, -1, module.head_dim), cos, sin).float()
    scores = torch.bmm(q.view(b, -1, module.head_dim), entries.transpose(1, 2)).view(b, s, module.num_heads, -1)
    weights = scorer.weights_proj(x).float() * (scorer.weights_scaling * scorer.softmax_scale)
    return (F.relu(scores) * weights.unsqueeze(-1)).sum(2)


def visible(positions: torch.Tensor, rate: int, t: int) -> torch.Tensor:
    """bool [s, t]: a query sees the entries of windows that ended before it or with it."""
    return torch.arange(t, device=positions.device) < (positions.unsqueeze(-1) + 1) // rate


def chosen(scores: torch.Tensor, seen: torch.Tensor, k: int) -> torch.Tensor:
    """bool [b, s, t]: the k entries with the highest score among those that are seen [s, t]."""
    if k >= scores.shape[-1]:
        return seen.expand_as(scores)
    best = scores.detach().masked_fill(~seen, float("-inf")).topk(k, -1).indices
    return torch.zeros(scores.shape, dtype=torch.bool, device=scores.device).scatter_(-1, best, True) & seen


def attention(module: Any, x: torch.Tensor, context: dict[str, Any], weight: float, trace: Trace) -> torch.Tensor:
    """x [b, s, hidden] -> [b, s, hidden]. `weight` > 0 attaches the indexer's objective, 0 leaves it no gradient."""
    b, s, _ = x.shape
    cos, sin = context["position_embeddings"][module.rope_layer_type]
    positions, compressor = context["position_ids"][0], module.compressor
    residual = fused.norm(module.q_a_norm, module.q_a_proj(x))
    q = module.q_b_proj(residual).view(b, s, module.num_heads, module.head_dim)
    q = fused.rotate(fused.norm(module.q_b_norm, q, module.scaling), cos, sin)
    k = fused.rotate(fused.norm(module.kv_norm, module.kv_proj(x)), cos, sin)
    scores, seen = None, torch.zeros((s, 0), dtype=torch.bool, device=x.device)
    entries = k.new_empty((b, 0, module.head_dim))
    if compressor is not None:
        indexer = getattr(compressor, "indexer", None)
        entries = compress(compressor, x, overlap=indexer is not None)
        seen = visible(positions, compressor.compress_rate, entries.shape[1])
        if indexer is not None and entries.shape[1]:
            # The objective must not pull at the rest of the model, and without one there is nothing to keep.
            with torch.set_grad_enabled(weight > 0 and torch.is_grad_enabled()):
                scores = index(indexer, x.detach(), residual.detach(), cos, sin)
            seen = chosen(scores, seen, indexer.index_topk)
    seen = seen.expand(b, s, -1)
    bias = torch.zeros(seen.shape, dtype=q.dtype, device=x.device).masked_fill_(~seen, float("-inf"))
    out, shares = Attend.apply(q, k, entries, bias, module.sinks.to(q.dtype), module.sliding_window)
    out = fused.rotate(out, cos, -sin).view(b, s, module.o_a_proj.n_groups, -1)
    out = module.o_b_proj(module.o_a_proj(out).flatten(2))
    if scores is None or weight <= 0:
        return out
    on_entries = shares[..., -scores.shape[-1] - 1 : -1].sum(3).view(scores.shape)
    term = losses.indexer_divergence(scores, seen, on_entries) / trace.tokens
    trace.add("indexer", term)
    return add_loss(out, weight * term)


def layer(
    block: Any, weight: float, trace: Trace, h: torch.Tensor, input_ids: torch.Tensor | None = None, **context: Any
) -> torch.Tensor:
    """The class's decoder layer: streams h [b, s, n, hidden] -> the same shape."""
    post, comb, x = hyper.enter(block.attn_hc, h)
    x = attention(block.self_attn, fused.norm(block.input_layernorm, x), context, weight, trace)
    h = hyper.leave(x, h, post, comb)
    post, comb, x = hyper.enter(block.ffn_hc, h)
    x = block.mlp(fused.norm(block.post_attention_layernorm, x), input_ids=input_ids)
    return hyper.leave(x, h, post, comb)


def shared_expert(module: Any, x: torch.Tensor) -> torch.Tensor:
    """The class's feed-forward block."""
    return module.down_proj(fused.clamped_gate(module.limit, module.act_fn, module.gate_proj(x), module.up_proj(x)))


def expert_gate(module: Any, gate_up: torch.Tensor) -> torch.Tensor:
    """The activation of the routed experts; gate_up [rows, 2 * intermediate]."""
    return fused.clamped_gate(module.limit, module.act_fn, *gate_up.chunk(2, -1))


def prepare_v4(block: Any, weight: float, trace: Trace) -> None:
    """Makes a decoder layer of the class compute with ours; `weight` is that of the indexer's objective."""
    block.forward = partial(layer, block, weight, trace)
    block.mlp.experts._apply_gate = partial(expert_gate, block.mlp.experts)
    block.mlp.shared_experts.forward = partial(shared_expert, block.mlp.shared_experts)
