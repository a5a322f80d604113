"""Objectives against their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
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
    """A learned softmax router of the common shape, whose bias always chooses expert 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)))

        self.bias = torch.tensor([1.0, 0.0, 0.0, 0.0])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = F.linear(x, self.weight)
        index = (logits.softmax(-1) + self.bias).topk(2).indices
        return logits, logits.softmax(-1).gather(1, index), index


def balance(_: Any = None) -> list[float]:
    trace, gate = Trace(counting=True, rows=3, length=5), Router()
    losses.balance_sequences(gate, 0.1, trace)
    x = torch.randn(3 * 5, 8, generator=torch.Generator().manual_seed(2))
    logits, weights, index = gate(x)
    wanted = 0.0
    shares = logits.softmax(-1).view(3, 5, 4).tolist()
    for row in shares:  # one sequence; eq. 17-20, token by token
        for expert in range(4):
            hits = sum(sorted(token, reverse=True).index(token[expert]) < 2 for token in row)
            f, p = 4 / (2 * 5) * hits, sum(token[expert] / sum(token) for token in row) / 5
            wanted += 0.1 * f * p / 3
    assert bool((index == 0).any(1).all())
    (weights * 0).sum().backward()
    assert gate.weight.grad is not None
    return [float(trace.sums["balance"]), wanted, float(gate.weight.grad.abs().max())]


def test_sequence_balance_is_its_formula_and_reaches_the_router() -> None:
    ((got, wanted, gradient),) = worlds.run(1, balance)
    assert abs(got - wanted) < 1e-6
    assert gradient > 0


def families(name: str) -> list[float]:
    """The real routers of V3 (sigmoid, bias, groups) and V4 (square root of softplus, bias): term, and by the paper."""
    from tiny import config

    made: Any = config(name)
    if name == "v3":
        from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter as Gate
    else:
        from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4TopKRouter as Gate  # type: ignore
    gate = Gate(made)
    torch.manual_seed(3)
    with torch.no_grad():
        nn.init.normal_(gate.weight)
        gate.e_score_correction_bias.copy_(torch.randn(8))
    trace = Trace(counting=True, rows=2, length=6)
    losses.balance_sequences(gate, 0.01, trace)
    x = torch.randn(2, 6, 64)
    gate(x if name == "v4" else x.view(12, 64))
    raw = (x.double() @ gate.weight.double().T).tolist()
    wanted = 0.0
    for row in raw:
        affinity = [[affine(name, u) for u in token] for token in row]
        for expert in range(8):
            f = 8 / (2 * 6) * sum(token[expert] >= sorted(token)[-2] for token in affinity)
            wanted += 0.01 * f * sum(token[expert] / sum(token) for token in affinity) / 6 / 2
    return [float(trace.sums["balance"]), wanted]


def affine(name: str, u: float) -> float:
    return 1 / (1 + math.exp(-u)) if name == "v3" else math.sqrt(math.log1p(math.exp(u)))


@pytest.mark.parametrize("name", ["v3", "v4"])
def test_sequence_balance_of_the_real_routers_is_the_reports_formula(name: str) -> None:
    ((got, wanted),) = worlds.run(1, families, name)
    assert got == pytest.approx(wanted, rel=1e-5)
