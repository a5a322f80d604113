"""A stand-in for the node agent: a real zygote, a real telemetry socket, real ranks."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folders
import torch
import worlds
from safetensors.torch import save_file

ENGINE = Path(__file__).resolve().parents[1]
Message = dict[str, Any]


class Zygote:
    """The fork server with its first agent's connection; `connect` stands for an agent that comes after it.

    `program` may stand in for the engine's own entry.
    """

    def __init__(self, patience: float = 600, program: tuple[str, ...] = ("-m", "tessera_engine")) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="zygote-")
        self.path = Path(self.folder.name) / "socket"
        command = [sys.executable, *program, "zygote", str(self.path), str(patience)]
        environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        self.connect()

    def connect(self) -> None:
        """A new connection, after closing the one before."""
        if hasattr(self, "link"):
            self.link.close()
        self._pending = b""
        until = time.monotonic() + 600
        while True:
            self.link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            if self.link.connect_ex(str(self.path)) == 0:
                break
            assert self.process.poll() is None and time.monotonic() < until, "the zygote does not listen"
            self.link.close()
            time.sleep(0.02)
        self.ready = self.read(600)

    def ask(self, **request: Any) -> None:
        self.link.sendall(json.dumps(request).encode() + b"\n")

    def poll(self, seconds: float) -> Message | None:
        """The next line, or None when none comes in time."""
        until = time.monotonic() + seconds
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self.link], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return None
            data = self.link.recv(65536)
            assert data, "the zygote closed the connection"
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        message: Message = json.loads(line)
        return message

    def read(self, seconds: float = 300) -> Message:
        message = self.poll(seconds)
        assert message is not None, "the zygote says nothing"
        return message

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.link.close()
        self.folder.cleanup()


class Attempt:
    """The ranks of one start of a run, and all they said."""

    def __init__(self, zygote: Zygote, folder: Path, spec: Path, world: int, attempt: int = 1, **more: str) -> None:
        self.zygote, self.folder, self.world = zygote, folder, world
        self.messages: list[Message] = []
        self.exits: dict[int, Message] = {}
        self.pids: dict[int, int] = {}
        path = folder / f"agent-{attempt}.sock"
        path.unlink(missing_ok=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(world)
        self.connections: dict[socket.socket, bytes] = {}
        self.rank_zero: socket.socket | None = None
        self.dead = False
        self.store, meet = worlds.meeting()
        for rank in range(world):
            environment = {
                "RANK": rank,
                "WORLD_SIZE": world,
                "LOCAL_RANK": rank,
                **meet,
                "TESSERA_SOCKET": path,
                "TESSERA_ATTEMPT": attempt,
                **more,
            }
            env = {name: str(value) for name, value in environment.items()}
            zygote.ask(do="spawn", rank=rank, env=env, spec=str(spec), stdout=str(folder / f"rank-{rank}.log"))

    def pump(self, seconds: float) -> None:
        """Takes in what arrives within `seconds`, returning early when something did."""
        sources: list[Any] = [self.zygote.link, self.server, *self.connections]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self.server in ready:
            connection, _ = self.server.accept()
            self.connections[connection] = b""
        for connection in [c for c in self.connections if c in ready]:
            self._read(connection)
        while (message := self.zygote.poll(0)) is not None:
            if message["kind"] == "exited":
                self.exits[message["rank"]] = message
            elif message["kind"] == "spawned":
                self.pids[message["rank"]] = message["pid"]

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            connection.close()
            del self.connections[connection]
            return
        *lines, rest = (self.connections[connection] + data).split(b"\n")
        self.connections[connection] = rest
        for line in lines:
            message = json.loads(line)
            self.messages.append(message)
            if message["kind"] == "hello" and message["rank"] == 0:
                self.rank_zero = connection

    def until(self, done: Callable[[], Any], seconds: float = 400) -> None:
        """Pumps until `done()`; fails with the ranks' logs when that takes too long or a rank ends badly first."""
        limit = time.monotonic() + seconds
        while not done():
            self.pump(0.05)
            assert time.monotonic() < limit, f"waited {seconds} s\n{self.logs()}"
            if len(self.exits) == self.world and not done():
                self.drain()
                assert done(), f"all ranks ended\n{self.logs()}"

    def drain(self) -> None:
        """Takes in all that ended ranks said: it is in the kernel, and their connections are at their end."""
        while self.connections or select.select([self.server], [], [], 0)[0]:
            self.pump(0)

    def command(self, **fields: Any) -> None:
        assert self.rank_zero is not None
        self.rank_zero.sendall(json.dumps({"kind": "command", **fields}).encode() + b"\n")

    def kill(self, rank: int, sig: int = 9) -> None:
        self.zygote.ask(do="kill", rank=rank, signal=sig)

    def end(self) -> None:
        """Kills what is left and waits until all are gone."""
        for rank in range(self.world):
            if rank not in self.exits:
                self.kill(rank)
        self.until(lambda: len(self.exits) == self.world, 100)
        for connection in self.connections:
            connection.close()
        self.server.close()

    def wait(self, seconds: float = 400) -> dict[int, int | None]:
        """Exit code by rank once all have ended."""
        self.until(lambda: len(self.exits) == self.world, seconds)
        self.drain()
        self.end()
        return {rank: message["code"] for rank, message in sorted(self.exits.items())}

    def of(self, kind: str, rank: int | None = None) -> list[Message]:
        return [m for m in self.messages if m["kind"] == kind and rank in (None, m["rank"])]

    def steps(self) -> int:
        return max((m["step"] for m in self.of("step", 0)), default=0)

    def logs(self) -> str:
        return "\n".join(f"--- {p.name}\n{p.read_text()[-3000:]}" for p in sorted(self.folder.glob("rank-*.log")))


def write_rows(path: Path, rows: int, length: int) -> None:
    """Packed rows with loss on the last three quarters."""
    draw = torch.Generator().manual_seed(7)
    ids = torch.randint(0, 90, (rows, length), generator=draw, dtype=torch.int32)
    ids = (ids * 7 + ids.roll(1, 1)) % 90
    labels = ids.clone()
    labels[:, : length // 4] = -100
    save_file({"input_ids": ids, "labels": labels}, str(path))


def write_spec(folder: Path, base: Path, /, **changes: Any) -> Path:
    """worker.json for a tiny run on packed random rows; `changes` replace or extend sections."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "train.safetensors"
    if not data.exists():
        write_rows(data, 40, 32)
    document: dict[str, Any] = {
        "v": 1,
        "run": "test",
        "stage": "sft",
        "seed": 17,
        "deterministic": True,
        "threads": 1,
        "steps": 8,
        "model": {"config": str(base), "init": "hf", "weights": str(base)},
        "moe": {"biasRate": 0.001, "sequenceBalanceLoss": 0.0001},
        "mtp": {"lossWeight": 0.3},
        "indexer": {"lossWeight": 0.01},
        "layout": {"pp": 2, "vpp": 1, "dpShard": 2, "ep": 2, "schedule": "1f1b", "stages": [[0, 1], [2, 3]]},
        "precision": {"param": "float32", "master": "float32", "reduce": "float32"},
        "batch": {"sequenceLength": 32, "microBatch": 1, "globalBatch": 4},
        "optimizer": {"kind": "adamw", "learningRate": 1e-3, "weightDecay": 0.1, "warmupSteps": 2},
        "data": {"path": str(data)},
        "checkpoint": {"dir": str(folder / "checkpoints"), "every": 3, "keep": 10, "resume": "auto"},
        "telemetry": {"enabled": True},
        "selfCheck": {"parity": False, "gradients": False},
        "placement": None,
        "freeze": [],
    }
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(document.get(name), dict) else value
    path = folder / "worker.json"
    path.write_text(json.dumps(document))
    return path


def model_folder(folder: Path) -> Path:
    """The tiny V4 model that tests train."""
    return folders.v4_folder(folder, scale=1.0, num_nextn_predict_layers=1)
