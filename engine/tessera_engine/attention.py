"""DeepSeek-V4 attention as one implementation of transformers' attention interface, and the indexer's objective.

All heads share one key that is also the value, so the scores of all heads are one matrix product per row instead of a
copy of the keys per head. The sink column is folded into the softmax instead of being concatenated and cut off again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tessera_engine import losses
from tessera_engine.trace import Trace, add_loss

NAME = "tessera"


class SinkSoftmax(torch.autograd.Function):
    """softmax over the last axis of [scores + mask, sink], without the sink's column. Keeps one copy of the result."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, mask: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        """scores [b, h, s, t] (overwritten), mask broadcastable to it, sinks [h] -> probabilities [b, h, s, t]."""
        sink = sinks.view(1, -1, 1, 1)
        scores = scores.add_(mask)
        top = torch.maximum(scores.amax(-1, keepdim=True), sink)
        odds = scores.sub_(top).exp_()
        rest = (sink - top).exp_()
        total = odds.sum(-1, keepdim=True).add_(rest)
        probabilities = odds.div_(total)
        ctx.save_for_backward(probabilities, rest.div_(total))
        return probabilities

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        """Gradients of scores and sinks."""
        probabilities, rest = ctx.saved_tensors
        grad = grad * probabilities
        dot = grad.sum(-1, keepdim=True)
        return grad.addcmul_(probabilities, dot, value=-1), None, -(rest * dot).sum((0, 2, 3))


def forward(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scaling: float, **_: Any
) -> tuple[torch.Tensor, None]:
    """q [b, h, s, d], k = v [b, 1, t, d], mask [b, 1, s, t] -> output [b, s, h, d]."""
    b, h, s, d = q.shape
    key = k[:, 0]
    assert mask is not None
    scores = torch.matmul((q * scaling).reshape(b, h * s, d), key.transpose(1, 2)).view(b, h, s, -1)
    probabilities: torch.Tensor = SinkSoftmax.apply(scores, mask, module.sinks.to(scores.dtype))
    out = torch.matmul(probabilities.view(b, h * s, -1), key).view(b, h, s, d).transpose(1, 2).contiguous()
    objective = getattr(module, "tessera_indexer", None)
    return (out if objective is None else objective.attach(out, probabilities.detach(), mask)), None


class IndexerObjective:
    """Catches the indexer's scores of a forward and adds their divergence from the attention that followed."""

    def __init__(self, weight: float, trace: Trace) -> None:
        self.weight, self.trace = weight, trace
        self.scores: torch.Tensor | None = None

    def keep(self, _module: nn.Module, _inputs: Any, scores: torch.Tensor) -> None:
        """Forward hook of the scorer: scores [b, s, t] before the causal cut."""
        self.scores = scores

    def attach(self, out: torch.Tensor, probabilities: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`out` with the term attached; probabilities [b, h, s, window + t], mask [b, 1, s, window + t]."""
        scores, self.scores = self.scores, None
        if scores is None or not scores.shape[-1]:
            return out
        entries = scores.shape[-1]
        seen = mask[:, 0, :, -entries:] == 0
        term = losses.indexer_divergence(scores, seen, probabilities[..., -entries:].sum(1)) / self.trace.tokens
        self.trace.add("indexer", term)
        return add_loss(out, self.weight * term)


def detach_inputs(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook of the indexer: its objective must not pull at the rest of the model."""
    return (args[0].detach(), args[1].detach(), *args[2:])


def prepare_v4(block: Any, weight: float, trace: Trace) -> None:
    """Gives a layer with an indexer its objective; `weight` 0 leaves the indexer without any gradient."""
    indexer = getattr(getattr(block.self_attn, "compressor", None), "indexer", None)
    if indexer is None or weight <= 0:
        return
    objective = IndexerObjective(weight, trace)
    block.self_attn.tessera_indexer = objective
    indexer.register_forward_pre_hook(detach_inputs)
    indexer.scorer.register_forward_hook(objective.keep)


def register() -> None:
    """Makes this implementation known to transformers under `NAME`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, forward)
