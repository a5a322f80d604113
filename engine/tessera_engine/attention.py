"""DeepSeek-V4 attention as one implementation of transformers' attention interface, and the indexer's objective.

All heads share one key that is also the value, so the scores of all heads are one matrix product per row instead of a
copy of the keys per head. The sink is a key of zeros with a score of its own, so plain softmax serves. Rows longer than
two windows are computed in blocks of one window: s * 2w scores instead of s * s.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tessera_engine import hyper, losses
from tessera_engine.trace import Trace, add_loss

NAME = "tessera"


class MaskAndSink(torch.autograd.Function):
    """Adds the mask to all but the last column of the scores, and puts the head's sink into that column, in place."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, mask: torch.Tensor, sinks: torch.Tensor) -> torch.Tensor:
        """scores [b, n, h, w, t + 1] (a product that no one else keeps), mask [b, n, 1, w, t], sinks [h]."""
        scores[..., :-1].add_(mask)
        scores[..., -1] = sinks.view(-1, 1)
        return scores.view_as(scores)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        """The sink's key is zero, so its column may go on to the scores."""
        return grad, None, grad[..., -1].sum((0, 1, 3))


def forward(
    module: Any,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor,
    scaling: float,
    sliding_window: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """q [b, h, s, d], k = v [b, 1, s + t, d] with t compressed entries, mask [b, 1, s, s + t] -> output [b, s, h, d].

    Queries go in n blocks of w = one window, which see their own block of keys, the one before, and the entries.
    """
    b, h, s, d = q.shape
    banded = s % sliding_window == 0 and s > 2 * sliding_window
    w = sliding_window if banded else s
    n, entries = s // w, k.shape[2] - s
    queries = (q * scaling).view(b, h, n, w, d).transpose(1, 2).reshape(b, n, h * w, d)
    keys, allowed = _banded(k[:, 0], mask[:, 0], s, w) if banded else (k, mask.unsqueeze(1))
    keys = F.pad(keys, (0, 0, 0, 1))
    scores = torch.matmul(queries, keys.transpose(2, 3)).view(b, n, h, w, -1)
    probabilities = MaskAndSink.apply(scores, allowed, module.sinks.to(scores.dtype)).softmax(-1)
    out = torch.matmul(probabilities.view(b, n, h * w, -1), keys).view(b, n, h, w, d)
    out = out.transpose(2, 3).reshape(b, s, h, d)
    objective = getattr(module, "tessera_indexer", None)
    if objective is None or not entries:
        return out, None
    on_entries = probabilities.detach()[..., -entries - 1 : -1].sum(2).reshape(b, s, entries)
    return objective.attach(out, on_entries, mask[:, 0, :, s:] == 0), None


def _banded(k: torch.Tensor, mask: torch.Tensor, s: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    """k [b, s + t, d], mask [b, s, s + t] -> keys [b, n, 2w + t, d] and mask [b, n, 1, w, 2w + t] of each block."""
    b, _, d = k.shape
    n = s // w
    own = k[:, :s].reshape(b, n, w, d)
    entries = k[:, s:].unsqueeze(1).expand(b, n, -1, d)
    keys = torch.cat([F.pad(own[:, :-1], (0, 0, 0, 0, 1, 0)), own, entries], 2)
    gap = torch.arange(w, device=k.device)[:, None] + w - torch.arange(2 * w, device=k.device)[None, :]
    seen = ((gap >= 0) & (gap < w)).repeat(n, 1, 1)
    seen[0, :, :w] = False
    band = torch.zeros(seen.shape, dtype=mask.dtype, device=k.device).masked_fill_(~seen, float("-inf"))
    blocks = torch.cat([band.expand(b, -1, -1, -1), mask[:, :, s:].reshape(b, n, w, -1)], 3)
    return keys, blocks.unsqueeze(2)


class IndexerObjective:
    """Catches the indexer's scores of a forward and adds their divergence from the attention that followed."""

    def __init__(self, weight: float, trace: Trace) -> None:
        self.weight, self.trace = weight, trace
        self.scores: torch.Tensor | None = None

    def keep(self, _module: nn.Module, _inputs: Any, scores: torch.Tensor) -> None:
        """Forward hook of the scorer: scores [b, s, t] before the causal cut."""
        self.scores = scores

    def attach(self, out: torch.Tensor, probabilities: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """`out` with the term attached; probabilities (summed over heads) and seen [b, s, entries]."""
        scores, self.scores = self.scores, None
        if scores is None:
            return out
        term = losses.indexer_divergence(scores, seen, probabilities) / self.trace.tokens
        self.trace.add("indexer", term)
        return add_loss(out, self.weight * term)


def detach_inputs(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook of the indexer: its objective must not pull at the rest of the model."""
    return (args[0].detach(), args[1].detach(), *args[2:])


def prepare_v4(block: Any, weight: float, trace: Trace) -> None:
    """Takes our hyper-connections, and gives a layer with an indexer its objective.

    `weight` 0 leaves the indexer without any gradient.
    """
    for connection in (block.attn_hc, block.ffn_hc):
        connection.forward = partial(hyper.forward, connection)
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
