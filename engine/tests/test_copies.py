"""Copies of experts: who computes what, gradients added up in order, equal bits on all copies, parity, checkpoints."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import worlds
from test_bits import digest
from tiny import config, spec

from tessera_engine import copies, relocate
from tessera_engine.dispatch import Dispatcher
from tessera_engine.engine import Engine
from tessera_engine.mesh import build_mesh
from tessera_engine.spec import Layout, Spec
from tessera_engine.trace import Trace

TWICE = [0, 1, 2, 3, 5, 4, 5, 6, 7, 0]
THRICE = [0, 1, 5, 2, 3, 5, 4, 5, 1, 6, 7, 0]


def test_a_rank_keeps_the_pairs_of_its_own_copy_and_deals_the_others_evenly() -> None:
    table = [0, 1, 2, 0, 3, 0, 4, 5]  # expert 0 on ranks 0, 1 and 2 of 4
    pairs = torch.tensor([0, 3, 0, 0, 1, 0, 0, 0])
    ways = [Dispatcher(6, table, 4, rank, None, Trace()) for rank in range(4)]
    assert [[s for s in way.slot_of(pairs).tolist() if table[s] == 0] for way in ways[:3]] == [
        [0] * 6,
        [3] * 6,
        [5] * 6,
    ]
    assert sorted(s for s in ways[3].slot_of(pairs).tolist() if table[s] == 0) == [0, 0, 3, 3, 5, 5]
    assert ways[3].slot_of(pairs)[[1, 4]].tolist() == [4, 1]
    assert (ways[1].mine, ways[1].copies) == ([2, 0], {0: [0, 3, 5]})


def test_a_node_keeps_the_pairs_of_its_copies_where_all_copies_get_equal_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    # Three nodes. Expert 0 on ranks 0 and 2: one copy on each of two nodes; expert 1 on ranks 0, 1 and 4: two and one.
    table = [0, 1, 1, 2, 0, 3, 4, 5, 1, 6, 7, 8]
    pairs = torch.tensor([0, 1] * 12)
    ways = [Dispatcher(9, table, 6, rank, None, Trace()) for rank in range(6)]
    found = [torch.bincount(way.slot_of(pairs), minlength=12) for way in ways]
    assert [row[[0, 4]].tolist() for row in found] == [[12, 0], [12, 0], [0, 12], [0, 12], [6, 6], [6, 6]]
    assert sum(row[0] for row in found) == sum(row[4] for row in found)
    assert [row[[1, 2, 8]].tolist() for row in found] == [[12, 0, 0], [0, 12, 0], [4] * 3, [4] * 3, [0, 0, 12], [4] * 3]


def test_an_expert_that_is_always_first_choice_is_dealt_evenly_too() -> None:
    way = Dispatcher(6, [0, 1, 2, 0, 3, 4, 5, 1], 4, 3, None, Trace())
    pairs = torch.tensor([[0, 2]] * 40).flatten()
    assert torch.bincount(way.slot_of(pairs), minlength=8).tolist() == [20, 0, 40, 20, 0, 0, 0, 0]


def sums(table: list[int], ep: int) -> bool:
    """Gradients of all copies against sums in slot order, and the other slots untouched."""
    mesh = build_mesh(Layout(dp_shard=ep, ep=ep))
    each = len(table) // ep
    draw = torch.Generator().manual_seed(5)
    whole = [torch.randn(len(table), *shape, generator=draw) * 3 for shape in ((7, 5), (11,))]
    module: Any = torch.nn.Module()
    module.tessera = Dispatcher(max(table) + 1, table, ep, mesh.ep_rank, mesh.ep_group, Trace())
    for i, full in enumerate(whole):
        parameter = torch.nn.Parameter(torch.zeros(each, *full.shape[1:]))
        parameter.grad = full[mesh.rank * each :][:each].clone()
        module.register_parameter(f"p{i}", parameter)
    copies.add_up([module])
    good = True
    for (_, parameter), full in zip(module.named_parameters(), whole, strict=True):
        for slot in range(mesh.rank * each, (mesh.rank + 1) * each):
            first, *rest = (full[s] for s, e in enumerate(table) if e == table[slot])
            wanted = first.clone()
            for term in rest:
                wanted += term
            good = good and torch.equal(parameter.grad[slot - mesh.rank * each], wanted)
    return good


@pytest.mark.parametrize(
    ("table", "ep"),
    [(TWICE, 2), (THRICE, 4), ([0, 1, 0, 2, 0, 3, 0, 1], 4), ([0, 1, 2, 3, 4, 5, 2, 0], 4), ([*range(8)], 4)],
)
def test_gradients_of_copies_are_added_in_slot_order(table: list[int], ep: int) -> None:
    assert all(worlds.run(ep, sums, table, ep))


def copies_equal(engine: Engine) -> int:
    """How many copies there are beyond the first ones; fails when one differs in a bit of weight or moment."""
    parts: list[tuple[Any, torch.Tensor]] = []
    for name, piece in engine.state_dict().items():
        parts += [((name, b.offsets), piece.at(b).clone()) for b in piece.blocks if b.slot is not None]  # type: ignore[attr-defined]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, parts)
    seen: dict[Any, torch.Tensor] = {}
    repeated = 0
    for key, tensor in (entry for part in everyone for entry in part):
        if key in seen:
            assert torch.equal(seen[key], tensor), key
            repeated += 1
        seen.setdefault(key, tensor)
    return repeated


def train(wanted: Spec, model: str, steps: int) -> tuple[list[tuple[float, float]], int, list[int]]:
    """Losses and norms, copies found equal at the end, and pairs per step; other copies from the third step on."""
    engine = Engine.build(wanted, config=config(model))
    results = []
    for step in range(steps):
        if step > 1:
            draw = random.Random(step)
            relocate.move(engine, {str(n): shuffled(draw, wanted.layout.ep) for n in range(1, 4, 2)}, dist.group.WORLD)
        results.append(engine.train_step(*worlds.rows(engine, step)))
    assert all(result.dropped_pairs == 0 for result in results)
    return [(r.loss, r.grad_norm) for r in results], copies_equal(engine), [r.expert_pairs for r in results]


def shuffled(draw: random.Random, ep: int) -> list[int]:
    """A random legal table of 8 experts in `ep` times 5 slots."""
    while True:
        table = [*range(8), *draw.sample(range(8), 5 * ep - 8)]
        draw.shuffle(table)
        if all(len({*table[r * 5 : r * 5 + 5]}) == 5 for r in range(ep)):
            return table


@pytest.mark.parametrize(
    ("model", "layout", "layers"),
    [
        ("v4", {"pp": 2, "ep": 2, "shard": 4}, 5),
        ("v3", {"ep": 2, "shard": 4, "micro": 2}, 4),
        ("qwen3moe", {"pp": 2, "ep": 2, "shard": 2}, 4),
    ],
)
def test_a_run_with_copies_equals_one_process(model: str, layout: dict[str, Any], layers: int) -> None:
    (alone,) = worlds.run(1, worlds.train, spec(), model, 4)
    placement = {str(layer): TWICE for layer in range(1, 4)}
    wanted = spec(**layout, layout={"slotsPerRank": 5}, placement=placement)
    found = worlds.run(wanted.layout.world, train, wanted, model, 4)
    for (a, norm_a), (b, norm_b) in zip(alone, found[0][0], strict=True):
        assert a == pytest.approx(b, rel=1e-5)
        assert norm_a == pytest.approx(norm_b, rel=1e-4)
    assert all(rank[0] == found[0][0] for rank in found)
    # Two more copies a layer, two tensors each with weight and two moments, on every shard.
    assert found[0][1] == layers * 2 * 2 * 3 * wanted.layout.efsdp
    assert sum(rank[2][0] for rank in found) == 8 * 64 * 2 * layers


def handed_on(wanted: list[Spec], folder: str) -> list[tuple[list[float], str, str]]:
    """A checkpoint goes from one placement to the next: loss and norm of a step there, state as loaded, as trained."""
    found = []
    for i, one in enumerate(wanted):
        engine = Engine.build(one, config=config("v4"))
        if i:
            dcp.load(engine.state_dict(), checkpoint_id=f"{folder}/0")
            engine.resume(1)
        loaded = digest(engine)
        result = engine.train_step(*worlds.rows(engine, 1 if i else 0))
        found.append(([result.loss, result.grad_norm], loaded, digest(engine)))
        dcp.save(engine.state_dict(), checkpoint_id=f"{folder}/{i}")
        if i:
            again = Engine.build(wanted[0], config=config("v4"))
            dcp.load(again.state_dict(), checkpoint_id=f"{folder}/{i}")
            assert digest(again) == found[-1][2]
    return found


def test_a_checkpoint_loads_with_and_without_copies(tmp_path: Path) -> None:
    plain = spec(ep=2, shard=4)
    copied = spec(ep=2, shard=4, layout={"slotsPerRank": 5}, placement={str(n): TWICE for n in range(5)})
    more = spec(ep=2, shard=4, layout={"slotsPerRank": 6})
    first, *rest = worlds.run(4, handed_on, [copied, plain, copied, more], str(tmp_path))[0]
    assert {loaded for _, loaded, _ in rest} == {first[2]}
    for values, _, _ in rest[1:]:
        # The norm counts an expert once, however many copies it has.
        assert values == pytest.approx(rest[0][0], rel=1e-5)
