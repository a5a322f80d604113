"""Objectives against their formulas."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import worlds
from torch import nn

from tessera_engine import losses
from tessera_engine.trace import Trace


def test_shift_and_counts() -> None:
    labels = torch.tensor([[-100, 4, 5, -100], [7, 8, 9, 10]])
    assert losses.shifted(labels, 1).tolist() == [[4, 5, -100, -100], [8, 9, 10, -100]]
    assert losses.shifted(labels, 9).tolist() == [[-100] * 4] * 2
    assert losses.count_targets(labels, 1).tolist() == [5, 3]
    assert losses.count_targets(labels, 0).tolist() == [5, 0]
    rows, targets = losses.with_target(labels, 1)
    assert (rows.tolist(), targets.tolist()) == ([0, 1, 4, 5, 6], [4, 5, 8, 9, 10])


def test_no_target_is_a_loss_of_zero() -> None:
    assert losses.cross_entropy_sum(torch.zeros(1, 0, 5), torch.zeros(0, dtype=torch.long)).item() == 0.0


def test_indexer_divergence_is_kl_over_the_seen_entries() -> None:
    draw = torch.Generator().manual_seed(0)
    scores, attention = torch.randn(2, 3, 6, generator=draw), torch.rand(2, 3, 6, generator=draw)
    seen = torch.rand(2, 3, 6, generator=draw) > 0.4
    seen[0, 0] = False
    total = 0.0
    for b in range(2):
        for s in range(3):
            pick = seen[b, s]
            if pick.any():
                p = attention[b, s][pick] / attention[b, s][pick].sum()
                total += float(F.kl_div(scores[b, s][pick].log_softmax(-1), p, reduction="sum"))
    assert abs(float(losses.indexer_divergence(scores, seen, attention)) - total) < 1e-5


class Router(nn.Module):
    """A learned softmax router of the common shape."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = F.linear(x, self.weight)
        weights, index = logits.softmax(-1).topk(2)
        return logits, weights, index


def balance(_: Any = None) -> list[float]:
    trace, gate = Trace(counting=True, rows=3, length=5), Router()
    losses.balance_sequences(gate, 0.1, trace)
    x = torch.randn(3 * 5, 8, generator=torch.Generator().manual_seed(2))
    logits, weights, index = gate(x)
    wanted = 0.0
    shares = logits.softmax(-1).view(3, 5, 4)
    for row in range(3):
        for expert in range(4):
            hits = int((index.view(3, 5, 2)[row] == expert).sum())
            wanted += 0.1 * hits * 4 / (2 * 5) * float(shares[row, :, expert].mean()) / 3
    (weights * 0).sum().backward()
    assert gate.weight.grad is not None
    return [float(trace.sums["balance"]), wanted, float(gate.weight.grad.abs().max())]


def test_sequence_balance_is_its_formula_and_reaches_the_router() -> None:
    ((got, wanted, gradient),) = worlds.run(1, balance)
    assert abs(got - wanted) < 1e-6
    assert gradient > 0
