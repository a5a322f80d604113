"""Bit identity: repeated runs, other placements, resume; and what a checkpoint owes to other layouts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import worlds
from tiny import config, spec

from tessera_engine.engine import Engine, NotFinite
from tessera_engine.pieces import Piece
from tessera_engine.spec import Spec

MIXED = {str(layer): [5, 2, 7, 0, 1, 6, 3, 4] for layer in range(5)}
WORLD = {"pp": 2, "ep": 2, "shard": 4}


def digest(engine: Engine) -> str:
    """Hash of all weights and moments in logical order, the same for every layout and placement."""
    parts: dict[tuple[str, tuple[int, ...]], str] = {}
    for name, piece in engine.state_dict().items():
        assert isinstance(piece, Piece)
        for block in piece.blocks:
            parts[name, block.offsets] = hashlib.sha256(piece.at(block).contiguous().numpy().tobytes()).hexdigest()
    everyone: list[Any] = [parts]
    if dist.get_world_size() > 1:
        everyone = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, parts)
    whole = {key: value for part in everyone for key, value in part.items()}
    return hashlib.sha256(repr(sorted(whole.items())).encode()).hexdigest()


def train(
    wanted: Spec, first: int, last: int, load: str | None, save: str | None, model: str = "v4"
) -> tuple[list[tuple[float, float]], str]:
    engine = Engine.build(wanted, config=config(model))
    if load:
        dcp.load(engine.state_dict(), checkpoint_id=load)
        engine.resume(first)
    results = [engine.train_step(*worlds.rows(engine, step)) for step in range(first, last)]
    if save:
        dcp.save(engine.state_dict(), checkpoint_id=save)
    assert engine.step == last
    return [(r.loss, r.grad_norm) for r in results], digest(engine)


def test_a_run_repeats_to_the_bit_whatever_the_placement() -> None:
    plain = worlds.run(8, train, spec(**WORLD), 0, 3, None, None)
    again = worlds.run(8, train, spec(**WORLD), 0, 3, None, None)
    moved = worlds.run(8, train, spec(**WORLD, placement=MIXED), 0, 3, None, None)
    assert plain == again
    assert plain == moved


def test_resume_continues_to_the_bit_and_other_layouts_follow(tmp_path: Path) -> None:
    wanted, folder = spec(pp=2, ep=2, shard=2), str(tmp_path / "c")
    (whole, final), *_ = worlds.run(4, train, wanted, 0, 4, None, None)
    worlds.run(4, train, wanted, 0, 2, None, folder)
    (rest, resumed), *_ = worlds.run(4, train, wanted, 2, 4, folder, None)
    assert (whole[2:], final) == (rest, resumed)
    (moved, state), *_ = worlds.run(4, train, spec(pp=2, ep=2, shard=2, placement=MIXED), 2, 4, folder, None)
    assert (moved, state) == (rest, resumed)
    for other in ({}, {"ep": 2, "shard": 2}, {"pp": 2, "shard": 2}):
        layout = spec(**other)
        (follows, _), *_ = worlds.run(layout.layout.world, train, layout, 2, 4, folder, None)
        for (a, _), (b, _) in zip(rest, follows, strict=True):
            assert a == pytest.approx(b, rel=1e-5)


def poisoned(wanted: Spec, where: str) -> tuple[str, bool, list[str], float]:
    engine = Engine.build(wanted, config=config("v4"))
    engine.train_step(*worlds.rows(engine, 0))
    before = digest(engine)
    hooks = []
    if engine.mesh.rank == 0:
        # A value that turns up in backward only: the loss stays finite.
        module = engine.stages[0].model.layers["0"]
        bad = float("nan" if where == "gradient" else "inf")
        if where == "gradient":
            hooks.append(module.register_full_backward_hook(lambda _m, _i, o: tuple(t * bad for t in o)))
        else:
            hooks.append(module.register_forward_hook(lambda _m, _i, o: o * bad))
    try:
        engine.train_step(*worlds.rows(engine, 1))
    except NotFinite as error:
        found = (error.code, error.exit_code == 40, list(error.facts["parameters"]))
    else:
        found = ("nothing", False, [])
    for hook in hooks:
        hook.remove()
    assert digest(engine) == before
    assert engine.step == 1
    return (*found, engine.train_step(*worlds.rows(engine, 1)).loss)


@pytest.mark.parametrize("where", ["gradient", "loss"])
def test_not_finite_is_found_on_all_ranks_before_any_update(where: str) -> None:
    found = worlds.run(4, poisoned, spec(pp=2, ep=2, shard=2), where)
    assert all(f[0] == "ENGINE_NOT_FINITE" and f[1] for f in found), found
    assert any(f[2] for f in found)
    assert len({f[3] for f in found}) == 1 and torch.isfinite(torch.tensor(found[0][3]))
