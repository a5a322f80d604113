"""Layouts against one process: losses and gradient norms of a few steps, and the start-up self-check."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import worlds
from tiny import config, spec

from tessera_engine import parity
from tessera_engine.mesh import build_mesh
from tessera_engine.spec import Spec

STEPS = 3
ALONE: dict[str, list[tuple[float, float]]] = {}


def alone(model: str) -> list[tuple[float, float]]:
    if model not in ALONE:
        (ALONE[model],) = worlds.run(1, worlds.train, spec(), model, STEPS)
    return ALONE[model]


@pytest.mark.parametrize(
    ("model", "layout"),
    [
        ("v4", {"pp": 2, "ep": 2, "shard": 2}),
        ("v4", {"pp": 2, "ep": 2, "shard": 2, "layout": {"recompute": "full", "stages": [[0, 1, 2], [3]]}}),
        ("v4", {"pp": 2, "vpp": 2, "shard": 2, "ep": 2}),
        ("v4", {"ep": 2, "shard": 4, "micro": 2}),
        ("v4", {"replicate": 2, "shard": 2, "layout": {"reshardAfterForward": False}}),
        ("v3", {"pp": 2, "ep": 2, "shard": 2, "micro": 2}),
        ("qwen3moe", {"pp": 2, "ep": 2, "shard": 2}),
        ("qwen3", {"pp": 2, "shard": 2}),
    ],
)
def test_layout_equals_one_process(model: str, layout: dict[str, Any]) -> None:
    wanted = spec(**layout)
    found = worlds.run(wanted.layout.world, worlds.train, wanted, model, STEPS)
    assert all(rank == found[0] for rank in found)
    for (a, norm_a), (b, norm_b) in zip(alone(model), found[0], strict=True):
        assert a == pytest.approx(b, rel=1e-5)
        assert norm_a == pytest.approx(norm_b, rel=1e-4)


def test_bfloat16_keeps_float32_masters_and_follows_the_curve() -> None:
    losses = worlds.run(2, worlds.train, spec(ep=2, shard=2, precision={"param": "bfloat16"}), "v4", STEPS)[0]
    for (a, _), (b, _) in zip(alone("v4"), losses, strict=True):
        assert a == pytest.approx(b, rel=5e-3)
        assert a != b


def self_check(wanted: Spec, name: str, largest: int, lose: bool) -> parity.Parity:
    parity.LARGEST = largest
    if lose:  # a schedule that forgets to reduce is the kind of fault that the check is there for
        from tessera_engine.parallel import OrderedReduceScatter

        def keep_mine(
            _: Any, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: Any, *__: Any, **___: Any
        ) -> None:
            output_tensor.copy_(input_tensor.view(group.size(), -1)[group.rank()])

        OrderedReduceScatter.__call__ = keep_mine  # type: ignore[method-assign]
    return parity.check(wanted, config(name), build_mesh(wanted.layout))


@pytest.mark.parametrize("largest", [10**9, 0])
def test_self_check_passes(largest: int) -> None:
    wanted = spec(pp=2, ep=2, shard=2, layout={"slotsPerRank": 5})
    found = worlds.run(4, self_check, wanted, "v4", largest, False)
    assert all(f.ok and f.max_relative == found[0].max_relative and f.shrunk == (not largest) for f in found), found


def test_self_check_finds_lost_gradients() -> None:
    found = worlds.run(2, self_check, spec(ep=2, shard=2), "v4", 10**9, True)
    assert all(not f.ok and f.worst for f in found), found
