"""Checkpoint folders: whole or not there at all, whatever the moment of a crash or the damage done to them."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from tessera_engine import checkpoint, manifest
from tessera_engine.errors import EngineError
from tessera_engine.manifest import Manifest
from tessera_engine.pieces import Block, Piece


@pytest.fixture(scope="module")
def group() -> Any:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def state(seed: int) -> checkpoint.State:
    """A dense tensor, one of four experts in shuffled slots, a buffer of integers and a scalar."""
    draw = torch.Generator().manual_seed(seed)
    slots = tuple(Block((expert, 0, 0), (1, 3, 5), slot) for slot, expert in enumerate([2, 0, 3, 1]))
    dense = Piece.of(torch.randn(7, 3, generator=draw), "dense", (7, 3), (Block((0, 0), (7, 3)),))
    experts = Piece.of(torch.randn(4, 3, 5, generator=draw), "experts", (4, 3, 5), slots)
    counts = torch.randint(0, 9, (6,), generator=draw)
    return {"dense": dense, "experts": experts, "counts": counts, "one": torch.randn((), generator=draw)}


def note(step: int) -> Manifest:
    return Manifest("run", step, step * 2, [], {"pp": 1}, {"1": [2, 0, 3, 1]}, "spec", {"seed": 5})


def save(folder: Path, group: Any, step: int, keep: int = 9) -> checkpoint.Saved:
    saver = checkpoint.Saver(folder, keep, group, lambda _: {})
    saver.begin(state(step), note(step))
    saved = saver.finish()
    assert saved is not None
    return saved


def same(left: checkpoint.State, right: checkpoint.State) -> bool:
    return all(torch.equal(torch.Tensor(left[n]), torch.Tensor(right[n])) for n in left.keys() | right.keys())


def test_what_was_saved_comes_back_into_other_slots(tmp_path: Path, group: Any) -> None:
    saved = save(tmp_path, group, 4)
    assert saved.error is None and Path(saved.path).name == "step-00000004"
    found = checkpoint.choose(tmp_path, "auto", group, print)
    assert found is not None and found[1].cursor == 8 and found[1].placement == {"1": [2, 0, 3, 1]}
    target = {name: torch.zeros_like(torch.Tensor(tensor)) for name, tensor in state(0).items()}
    straight = tuple(Block((expert, 0, 0), (1, 3, 5), expert) for expert in range(4))
    experts = Piece.of(target["experts"], "experts", (4, 3, 5), straight)
    checkpoint.load(found[0], {**target, "experts": experts}, group)
    expected = {name: torch.Tensor(tensor) for name, tensor in state(4).items()}
    assert torch.equal(target["experts"][[2, 0, 3, 1]], expected.pop("experts"))
    assert all(torch.equal(target[name], tensor) for name, tensor in expected.items())


def test_buffers_are_reused_and_later_changes_do_not_reach_a_save(tmp_path: Path, group: Any) -> None:
    saver = checkpoint.Saver(tmp_path, 9, group, lambda _: {})
    live = state(1)
    saver.begin(live, note(1))
    for tensor in live.values():
        torch.Tensor(tensor).zero_()
    assert (saver.finish() or pytest.fail()).error is None
    addresses = {name: tensor.data_ptr() for name, tensor in saver._staged.items()}
    saver.begin(state(2), note(2))
    assert (saver.finish() or pytest.fail()).error is None
    assert addresses == {name: tensor.data_ptr() for name, tensor in saver._staged.items()}
    for step in (1, 2):
        target = state(0)
        checkpoint.load(tmp_path / f"step-{step:08d}", target, group)
        assert same(target, state(step))


def test_the_oldest_go_and_a_saved_step_is_replaced(tmp_path: Path, group: Any) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, group, step, keep=2)
    assert [step for step, _ in manifest.published(tmp_path)] == [4, 3]
    assert save(tmp_path, group, 4, keep=2).error is None
    assert checkpoint.verify(tmp_path / "step-00000004").step == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


def damages() -> list[str]:
    return [
        "flip rank-0.bin",
        "cut rank-0.bin",
        "flip index.json",
        "drop rank-0.bin",
        "cut manifest.json",
        "edit manifest.json",
    ]


@pytest.mark.parametrize("damage", damages())
def test_damage_is_named_and_the_previous_one_is_taken(tmp_path: Path, group: Any, damage: str) -> None:
    for step in (1, 2):
        save(tmp_path, group, step)
    how, name = damage.split()
    file = tmp_path / "step-00000002" / name
    data = bytearray(file.read_bytes())
    if how == "flip":
        data[random.Random(3).randrange(len(data))] ^= 1
    if how == "edit":
        data = bytearray(data.replace(b'"cursor": 4', b'"cursor": 5'))
    file.unlink() if how == "drop" else file.write_bytes(data[:-9] if how == "cut" else data)
    told: list[EngineError] = []
    found = checkpoint.choose(tmp_path, "auto", group, told.append)
    assert found is not None and found[1].step == 1
    assert [e.code for e in told] == ["ENGINE_CHECKPOINT_DAMAGED"] and told[0].facts["file"] == str(file)
    with pytest.raises(EngineError) as caught:
        checkpoint.choose(tmp_path, str(tmp_path / "step-00000002"), group, told.append)
    assert caught.value.code == "ENGINE_CHECKPOINT_DAMAGED"


def test_when_none_is_good_the_run_does_not_start_over_in_silence(tmp_path: Path, group: Any) -> None:
    save(tmp_path, group, 1)
    (tmp_path / "step-00000001" / "rank-0.bin").write_bytes(b"")
    with pytest.raises(EngineError) as caught:
        checkpoint.choose(tmp_path, "auto", group, lambda _: None)
    assert caught.value.code == "ENGINE_CHECKPOINT_NONE_GOOD"
    assert checkpoint.choose(tmp_path / "empty", "auto", group, lambda _: None) is None


def test_a_crash_at_any_moment_of_publishing_leaves_a_good_one(tmp_path: Path, group: Any) -> None:
    """Every order of file operations that `publish` and `prune` make, cut after each of them."""
    origin = tmp_path / "origin"
    for step in (1, 2):
        save(origin, group, step)
    complete = origin / "step-00000002"
    moments = {
        "nothing written": lambda f: (f / ".step-00000003.tmp").mkdir(),
        "all but the manifest": lambda f: shutil.copytree(
            complete, f / ".step-00000003.tmp", ignore=shutil.ignore_patterns("manifest.json")
        ),
        "all but the rename": lambda f: shutil.copytree(complete, f / ".step-00000003.tmp"),
        "the replaced one moved away": lambda f: (f / "step-00000002").rename(f / ".step-00000002.old"),
        "pruning begun": lambda f: (f / "step-00000001").rename(f / ".step-00000001.trash"),
    }
    for name, crash in moments.items():
        folder = tmp_path / name.replace(" ", "-")
        shutil.copytree(origin, folder)
        crash(folder)
        found = checkpoint.choose(folder, "auto", group, lambda e: pytest.fail(e.message))
        assert found is not None and found[1].step == 2, name
        assert not [p for p in folder.iterdir() if p.name.startswith(".")], name


def test_a_full_disk_fails_the_save_and_nothing_else(tmp_path: Path, group: Any) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=256k tmpfs {small} 2>/dev/null") != 0:
        _full_by_limit(small, group)
        return
    try:
        assert save(small, group, 1).error is None
        big = {"dense": torch.zeros(100_000)}
        saver = checkpoint.Saver(small, 9, group, lambda _: {})
        saver.begin(big, note(2))
        saved = saver.finish()
        assert saved is not None and saved.error is not None
        assert saved.error.code == "ENGINE_CHECKPOINT_DISK_FULL" and "freeBytes" in saved.error.facts
        assert [p.name for p in small.iterdir()] == ["step-00000001"]
        saver.begin({"dense": torch.zeros(10)}, note(3))
        assert (saver.finish() or pytest.fail()).error is None
    finally:
        os.system(f"umount {small}")


def _full_by_limit(folder: Path, group: Any) -> None:
    """Where no file system may be mounted: a limit on the size of files stands in for the disk's."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    saver = checkpoint.Saver(folder, 9, group, lambda _: {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, hard))
    try:
        saver.begin({"dense": torch.zeros(100_000)}, note(2))
        saved = saver.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved is not None and saved.error is not None and saved.error.code == "ENGINE_CHECKPOINT_DISK_FULL"
    assert not list(folder.iterdir())


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, group: Any) -> None:
    save(tmp_path, group, 1)
    with pytest.raises(EngineError) as caught:
        checkpoint.load(tmp_path / "step-00000001", {"other": torch.zeros(3)}, group)
    assert caught.value.code == "ENGINE_CHECKPOINT_MISMATCH"
