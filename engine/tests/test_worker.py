"""Whole runs: four ranks under a zygote, commands, stops, faults, and the state they end with."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds
from agents import ENGINE, Attempt, Zygote, model_folder, write_spec

from tessera_engine import checkpoint, manifest
from tessera_engine.storage import RawReader

STEPS = 6


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    it = Zygote()
    yield it
    it.end()


@pytest.fixture(scope="module")
def deadly() -> Iterator[Zygote]:
    it = Zygote(program=(str(Path(__file__).with_name("deadly.py")),))
    yield it
    it.end()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model"))


def run(zygote: Zygote, folder: Path, base: Path, world: int = 4, **changes: Any) -> Attempt:
    changes = {"steps": STEPS, **changes}
    attempt = Attempt(zygote, folder, write_spec(folder, base, **changes), world)
    assert set(attempt.wait().values()) == {0}, attempt.logs()
    return attempt


@pytest.fixture(scope="module")
def reference(zygote: Zygote, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Attempt]:
    """The undisturbed run that all others must equal."""
    folder = tmp_path_factory.mktemp("reference")
    return folder, run(zygote, folder, model, selfCheck={"parity": True, "gradients": True})


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """All logical tensors of a checkpoint (random state of ranks left out: it belongs to a layout)."""
    stored = RawReader(path).read_metadata().state_dict_metadata
    state: checkpoint.State = {
        name: torch.empty(tuple(entry.size), dtype=entry.properties.dtype)
        for name, entry in stored.items()
        if not name.startswith("rng/")
    }
    checkpoint.load(path, state, None)
    return state


def last(folder: Path) -> Path:
    return manifest.published(folder / "checkpoints")[0][1]


def same_end(left: Path, right: Path) -> None:
    """Weights, buffers and moments at the end of two runs are equal bit by bit, and so is what was trained on."""
    one, two = checkpoint.verify(last(left)), checkpoint.verify(last(right))
    assert (one.step, one.cursor) == (two.step, two.cursor)
    a, b = tensors(last(left)), tensors(last(right))
    assert a.keys() == b.keys() and len(a) > 100
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def losses(attempt: Attempt) -> dict[int, tuple[float, float]]:
    return {m["step"]: (m["loss"], m["gradNorm"]) for m in attempt.of("step", 0)}


def test_a_run_tells_all_that_the_controller_needs(reference: tuple[Path, Attempt]) -> None:
    folder, attempt = reference
    assert len(attempt.of("hello")) == 4
    names = ["init", "load", "selfcheck", "train", "save", "done"]
    assert all([m["name"] for m in attempt.of("phase", rank)] == names for rank in range(4))
    for rank in range(4):
        assert [m["step"] for m in attempt.of("step", rank)] == list(range(1, STEPS + 1))
        assert [m["cursor"] for m in attempt.of("step", rank)] == list(range(1, STEPS + 1))
    assert len({json.dumps(losses(attempt))}) == 1
    first = attempt.of("step", 0)[0]
    assert first["spans"]["forwardBackward"] > 0 and first["memory"]["weights"] > 0 and first["tokens"] == 4 * 32
    assert [m["step"] for m in attempt.of("saved")] == [3, 6]
    assert attempt.of("nograd")[0]["parameters"] == []
    assert attempt.of("parity")[0]["ok"] and 0 < attempt.of("parity")[0]["maxRelative"] < 1e-3
    for message in attempt.of("load"):
        assert message["rank"] in (0, 2)
        counts = torch.frombuffer(bytearray(base64.b64decode(message["counts"]["b64"])), dtype=torch.int32)
        assert counts.view(message["counts"]["shape"]).sum(1).tolist() == [4 * 32 * 2] * len(message["layers"])
    # Five layers with experts (MTP's among them), two pairs a token.
    steps = attempt.of("step")
    for step in range(1, STEPS + 1):
        assert sum(m["expertPairs"] for m in steps if m["step"] == step) == 5 * 4 * 32 * 2
        assert sum(sum(m["sentPairs"]) for m in steps if m["step"] == step) == 5 * 4 * 32 * 2
    assert all(m["droppedPairs"] == 0 and 0 < m["spans"]["experts"] < m["seconds"] for m in steps)
    assert checkpoint.verify(last(folder)).layout["ep"] == 2


def test_killed_ranks_at_any_moment_change_nothing(
    zygote: Zygote, model: Path, reference: tuple[Path, Attempt], tmp_path: Path
) -> None:
    """Kills within steps and in the midst of saves; each time the run goes on from the last published checkpoint."""
    draw = random.Random(11)
    spec = write_spec(tmp_path, model, steps=STEPS, checkpoint={"every": 2})
    resumed: list[int] = []
    for number, moment in enumerate(["saving", "saved", "step", "saving", None], 1):
        attempt = Attempt(zygote, tmp_path, spec, 4, attempt=number)
        resumed.append(max((s for s, _ in manifest.published(tmp_path / "checkpoints")), default=0))
        if moment is not None:
            attempt.until(lambda a=attempt, k=moment: a.of(k) or len(a.exits) == 4)  # type: ignore[misc]
            attempt.pump(draw.random() * 0.1)
            attempt.kill(draw.randrange(4), signal.SIGKILL)
        codes = set(attempt.wait().values())
        if codes == {0}:
            break
        assert moment is not None and None in codes, attempt.logs()
        assert {m["code"] for m in attempt.of("fatal")} <= {"ENGINE_PEER_LOST"}, attempt.logs()
    assert resumed == sorted(resumed) and resumed[-1] > 0
    same_end(reference[0], tmp_path)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.startswith(".")]


def test_ranks_that_lose_a_peer_in_the_last_save_blame_the_peer(deadly: Zygote, model: Path, tmp_path: Path) -> None:
    """Nothing is wrong with where they save: they may be started again."""
    spec = write_spec(tmp_path, model, steps=1, checkpoint={"every": 0})
    attempt = Attempt(deadly, tmp_path, spec, 4, TEST_SAVE="3")
    assert attempt.wait() == {0: 1, 1: 1, 2: 1, 3: None}, attempt.logs()
    assert [m["code"] for m in attempt.of("fatal")] == ["ENGINE_PEER_LOST"] * 3


def test_a_damaged_checkpoint_is_passed_over_and_said(
    zygote: Zygote, model: Path, reference: tuple[Path, Attempt], tmp_path: Path
) -> None:
    run(zygote, tmp_path, model)
    file = last(tmp_path) / "rank-1.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    attempt = run(zygote, tmp_path, model)
    told = [m for m in attempt.of("log", 0) if m.get("event") == "checkpoint_damaged"]
    assert len(told) == 1 and told[0]["code"] == "ENGINE_CHECKPOINT_DAMAGED" and told[0]["file"] == str(file)
    assert [m["step"] for m in attempt.of("step", 0)] == [4, 5, 6]
    assert checkpoint.verify(last(tmp_path)).step == 6
    for _, path in manifest.published(tmp_path / "checkpoints"):
        (path / "index.json").write_text("{}")
    attempt = Attempt(zygote, tmp_path, tmp_path / "worker.json", 4)
    assert set(attempt.wait().values()) == {3}
    assert attempt.of("fatal")[0]["code"] == "ENGINE_CHECKPOINT_NONE_GOOD"


@pytest.mark.parametrize(
    ("world", "layout"),
    [
        (1, {"pp": 1, "dpShard": 1, "ep": 1, "stages": None}),
        (4, {"pp": 1, "dpShard": 4, "ep": 2, "stages": None}),
    ],
)
def test_resuming_under_another_layout(
    zygote: Zygote,
    model: Path,
    reference: tuple[Path, Attempt],
    tmp_path: Path,
    world: int,
    layout: dict[str, Any],
) -> None:
    source = reference[0] / "checkpoints" / "step-00000003"
    resume = {"resume": str(source), "dir": str(tmp_path / "checkpoints")}
    unchanged = run(zygote, tmp_path, model, world, layout=layout, checkpoint=resume, steps=3)
    assert unchanged.of("step") == []
    a, b = tensors(source), tensors(last(tmp_path))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    attempt = run(zygote, tmp_path, model, world, layout=layout, checkpoint=resume)
    expected = losses(reference[1])
    assert sorted(losses(attempt)) == [4, 5, 6]
    for step, (loss, norm) in losses(attempt).items():
        assert loss == pytest.approx(expected[step][0], rel=1e-5)
        assert norm == pytest.approx(expected[step][1], rel=1e-4)


def test_commands_are_obeyed_at_a_boundary_by_all(zygote: Zygote, model: Path, tmp_path: Path) -> None:
    attempt = Attempt(zygote, tmp_path, write_spec(tmp_path, model, steps=400, checkpoint={"every": 0}), 4)
    attempt.until(lambda: attempt.steps() >= 1)
    attempt.command(id="c", do="dance")
    attempt.command(id="d", do="relocate", placement=[0])
    attempt.command(id="e", do="relocate", placement={"99": [0]})
    attempt.command(id="f", do="checkpoint")
    attempt.until(lambda: attempt.of("saved"))
    attempt.command(id="g", do="stop")
    assert set(attempt.wait().values()) == {0}
    acks = {m["id"]: m for m in attempt.of("ack")}
    assert {i: m["ok"] for i, m in acks.items()} == {
        "c": False, "d": False, "e": False, "f": True, "g": True,
    }  # fmt: skip
    assert acks["e"]["detail"]["code"] == "ENGINE_PLACEMENT"
    assert all(acks[name]["detail"]["code"] == "ENGINE_COMMAND" for name in "cd")
    assert {len(attempt.of("step", rank)) for rank in range(4)} == {attempt.steps()}
    assert checkpoint.verify(last(tmp_path)).step == attempt.steps()


def test_a_signal_to_one_rank_stops_all_and_the_run_ends_the_same(
    zygote: Zygote, deadly: Zygote, model: Path, reference: tuple[Path, Attempt], tmp_path: Path
) -> None:
    attempt = Attempt(deadly, tmp_path, write_spec(tmp_path, model, steps=STEPS), 4, TEST_TERM="2:2")
    assert set(attempt.wait().values()) == {0}, attempt.logs()
    stopped = checkpoint.verify(last(tmp_path)).step
    assert stopped == 2
    second = run(zygote, tmp_path, model)
    assert min(m["step"] for m in second.of("step")) == stopped + 1
    assert losses(second) == {s: v for s, v in losses(reference[1]).items() if s > stopped}
    same_end(reference[0], tmp_path)


def test_moving_experts_changes_no_bit_even_when_killed_in_a_move(
    deadly: Zygote, model: Path, reference: tuple[Path, Attempt], tmp_path: Path
) -> None:
    """A rank dies before the first exchange of a move, between two tensors of a layer, between two layers."""
    draw = random.Random(2)
    spec = write_spec(tmp_path, model, steps=STEPS, checkpoint={"every": 1})
    seen: dict[int, tuple[float, float]] = {}
    # Two layers a rank, each six tensors: two weights with two moments. The first attempt's first move stays alive.
    for number, last_words in enumerate(["1:13", "2:1", "0:4", "3:7", ""], 1):
        more = {"TEST_KILL": last_words} if last_words else {}
        attempt = Attempt(deadly, tmp_path, spec, 4, number, **more)
        for steps in (0, 2)[: 2 if number == 1 else 1] if last_words else ():
            attempt.until(lambda a=attempt, n=steps: a.rank_zero and a.steps() >= n)  # type: ignore[misc]
            attempt.command(id=str(steps), do="relocate", placement=shuffled(draw))
        codes = attempt.wait()
        seen |= losses(attempt)
        if last_words:
            killed = attempt.exits[int(last_words[0])]
            assert killed["signal"] == signal.SIGKILL, attempt.logs()
            assert {m["code"] for m in attempt.of("fatal")} <= {"ENGINE_PEER_LOST"}, attempt.logs()
            # No rank says that a move is done which another did not end.
            assert [m["ok"] for m in attempt.of("ack")] == [True] * (number == 1)
    assert set(codes.values()) == {0}, attempt.logs()
    assert seen == losses(reference[1])
    same_end(reference[0], tmp_path)
    tables = {layer: table for m in attempt.of("placement") for layer, table in m["layers"].items()}
    assert tables == checkpoint.verify(last(tmp_path)).placement != checkpoint.verify(last(reference[0])).placement


def shuffled(draw: random.Random) -> dict[str, list[int]]:
    return {str(layer): draw.sample(range(8), 8) for layer in range(5)}


def test_a_number_that_is_not_finite_stops_before_the_update(zygote: Zygote, model: Path, tmp_path: Path) -> None:
    much = {"warmupSteps": 0, "learningRate": 1e38}
    attempt = Attempt(zygote, tmp_path, write_spec(tmp_path, model, steps=400, optimizer=much), 4)
    codes = attempt.wait()
    assert set(codes.values()) == {40}, attempt.logs()
    fatal = attempt.of("fatal", 0)[0]
    assert fatal["code"] == "ENGINE_NOT_FINITE" and fatal["cursor"] == fatal["step"] - 1


def test_ranks_start_without_a_zygote(model: Path, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, model, steps=2, layout={"pp": 1, "dpShard": 2, "ep": 2, "stages": None})
    store, meet = worlds.meeting()
    ranks = []
    for rank in range(2):
        environment = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank}
        env = {**os.environ, **{k: str(v) for k, v in environment.items()}, **meet}
        command = [sys.executable, "-m", "tessera_engine", "worker", str(spec)]
        ranks.append(subprocess.Popen(command, cwd=ENGINE, env=env))
    try:
        assert [rank.wait(400) for rank in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
        del store
    assert checkpoint.verify(last(tmp_path)).step == 2


def test_a_port_that_another_process_took_is_named_and_may_be_tried_again(model: Path, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, model, steps=2, layout={"pp": 1, "dpShard": 2, "ep": 2, "stages": None})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-m", "tessera_engine", "worker", str(spec)]
        done = subprocess.run(command, cwd=ENGINE, env=env, capture_output=True, text=True, timeout=300)
    fatal = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, fatal["code"]) == (1, "ENGINE_PORT_TAKEN")
    assert fatal["message"].startswith(f"port {port} was taken")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"steps": "many"}, "ENGINE_SPEC_FIELD"),
        ({"optimzer": {}}, "ENGINE_SPEC_FIELD"),
        ({"layout": {"ep": 3}}, "ENGINE_LAYOUT"),
        ({"data": {"path": "/nowhere.safetensors"}}, "ENGINE_DATA_MISSING"),
        ({"model": {"config": "/nowhere"}}, "ENGINE_MODEL_MISSING"),
    ],
)
def test_bad_specs_are_refused_with_a_code(
    zygote: Zygote, model: Path, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    attempt = Attempt(zygote, tmp_path, write_spec(tmp_path, model, **changes), 1)
    assert attempt.wait() == {0: 3}
    assert attempt.of("fatal")[0]["code"] == code
