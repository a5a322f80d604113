"""Moving experts: where each slot comes from, and that no bit of a run depends on where experts are."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch.distributed as dist
import worlds
from test_bits import digest
from tiny import config, spec

from tessera_engine import relocate
from tessera_engine.engine import Engine
from tessera_engine.errors import EngineError
from tessera_engine.spec import Spec


def test_sources_stay_near_and_copies_come_from_the_first() -> None:
    assert relocate.sources([0, 1, 2, 3], [1, 0, 2, 3], ep=2) == [1, 0, 2, 3]
    assert relocate.sources([0, 1, 1, 2], [1, 0, 0, 2], ep=2) == [1, 0, 0, 3]
    assert relocate.sources([0, 1, 1, 2], [0, 1, 2, 1], ep=2) == [0, 1, 3, 2]


def train(
    wanted: Spec, model: str, steps: int, seed: int | None, chunk: int, overlap: bool = False
) -> tuple[list[tuple[float, float]], str, int]:
    """Losses and norms, the final state, and the bytes this rank sent; moves before every step when given a seed."""
    relocate.CHUNK_BYTES, relocate.FLIGHT_BYTES = chunk, 16 * chunk
    engine = Engine.build(wanted, config=config(model))
    results, sent = [], 0
    for step in range(steps):
        if seed is not None:
            draw = random.Random(seed * 100 + step)
            placement = {str(layer): draw.sample(range(8), 8) for layer in draw.sample(range(1, 5), 3)}
            moved = relocate.move(engine, placement, dist.group.WORLD, overlap=overlap)
            assert all(engine.placement()[str(n)] == placement[str(n)] for n in moved.layers)
            sent += moved.bytes
        result = engine.train_step(*worlds.rows(engine, step))
        results.append((result.loss, result.grad_norm))
    return results, digest(engine), sent


@pytest.mark.parametrize(("model", "layout"), [("v4", {"pp": 2, "ep": 2, "shard": 4}), ("v3", {"ep": 4, "shard": 4})])
def test_moves_before_every_step_leave_the_run_as_it_was(model: str, layout: dict[str, int]) -> None:
    wanted = spec(**layout)
    still = worlds.run(wanted.layout.world, train, wanted, model, 3, None, 1 << 20)
    for overlap in (False, True):
        moved = worlds.run(wanted.layout.world, train, wanted, model, 3, 2, 4096, overlap)
        assert [found[:2] for found in still] == [found[:2] for found in moved]
        assert all(found[2] > 0 for found in moved)


def saved_in_flight(wanted: Spec) -> tuple[str, str, int]:
    """The state after a move that is over, after the same move under way, and what was under way."""
    found: list[Any] = []
    for overlap in (False, True):
        engine = Engine.build(wanted, config=config("v4"))
        engine.train_step(*worlds.rows(engine, 0))
        relocate.move(engine, {"3": [7, 6, 5, 4, 3, 2, 1, 0]}, dist.group.WORLD, overlap=overlap)
        left = len(engine.landing)
        found.append(digest(engine))
    assert not engine.landing
    return found[0], found[1], left


def test_a_checkpoint_waits_for_what_is_under_way() -> None:
    wanted = spec(ep=2, shard=2)
    for still, moving, under_way in worlds.run(2, saved_in_flight, wanted):
        assert still == moving and under_way == 1


def rehearsed(wanted: Spec, model: str) -> tuple[bool, list[tuple[int, int]]]:
    engine = Engine.build(wanted, config=config(model))
    engine.train_step(*worlds.rows(engine, 0))
    before, tables = digest(engine), engine.placement()
    told = relocate.rehearse(engine, dist.group.WORLD)
    still = digest(engine) == before and engine.placement() == tables
    return still, [(len(one.layers), one.bytes) for one in told if one.seconds > 0]


@pytest.mark.parametrize("layout", [{"pp": 2, "ep": 2, "shard": 2}, {"ep": 4, "shard": 4}])
def test_a_rehearsal_sends_rows_and_leaves_every_bit(layout: dict[str, int]) -> None:
    wanted = spec(**layout)
    for still, told in worlds.run(wanted.layout.world, rehearsed, wanted, "v4"):
        assert still and len(told) == 12
        (few, one), (many, more), (_, half) = told[0], told[2], told[4]
        assert few == 1 and many > 1 and more == many * one > one > 0
        assert half == one * max(1, 8 // layout["ep"] // 2)


def refused(wanted: Spec) -> list[str]:
    engine = Engine.build(wanted, config=config("v4"))
    before, codes = engine.placement(), []
    state = digest(engine)
    for bad in BAD:
        # Layer 3 could move: nothing does when another layer's table is wrong.
        with pytest.raises(EngineError) as caught:
            relocate.move(engine, {"3": [7, 6, 5, 4, 3, 2, 1, 0], **bad}, dist.group.WORLD)
        codes.append(caught.value.code)
    assert engine.placement() == before and digest(engine) == state
    return codes


BAD: list[Any] = [
    {"7": [*range(8)]},  # no such layer
    {"-1": [*range(8)]},
    {"1": [0, 1, 2]},  # fewer slots than experts
    {"1": [*range(9)]},  # a slot of a rank that does not exist
    {"1": [*range(16)]},  # another model
    {"1": [0, 0, 1, 2, 3, 4, 5, 6]},  # two copies on a rank, and expert 7 nowhere
    {"4": [9] * 8},
    {"1": [[0], [1], [2], [3], [4], [5], [6], [7]]},  # ragged
    {"1": [0, 1, 2, 3, 4, 5, 6, 7.0]},
    {"1": [0, True, 2, 3, 4, 5, 6, 7]},
    {"1": 5},
    {"1": None},
    {"1": "01234567"},
]


def test_an_impossible_placement_is_refused_on_all_ranks_and_nothing_moves() -> None:
    assert worlds.run(4, refused, spec(pp=2, ep=2, shard=2)) == [["ENGINE_PLACEMENT"] * len(BAD)] * 4
