"""Telemetry against real sockets: complete when the agent reads, harmless when it does not."""

from __future__ import annotations

import json
import resource
import socket
import time
from pathlib import Path
from typing import Any

from tessera_engine.telemetry import QUEUE_BYTES, Telemetry


def listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(4)
    server.settimeout(5)
    return server


def read_lines(connection: socket.socket, sender: Telemetry, count: int) -> list[dict[str, Any]]:
    connection.settimeout(0.05)
    data = b""
    until = time.monotonic() + 10
    while data.count(b"\n") < count and time.monotonic() < until:
        sender.drain(0.01)
        try:
            data += connection.recv(1 << 20)
        except TimeoutError:
            continue
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def test_messages_arrive_whole_and_in_order(tmp_path: Path) -> None:
    server = listen(tmp_path / "s")
    sender = Telemetry(str(tmp_path / "s"), "run", 2, 1)
    sender.step = 7
    for index in range(50):
        sender.send("step", index=index, filling="x" * 20_000)
    connection, _ = server.accept()
    messages = read_lines(connection, sender, 50)
    assert [m["index"] for m in messages] == list(range(50))
    assert {k: messages[0][k] for k in ("v", "kind", "run", "rank", "step", "attempt")} == {
        "v": 1,
        "kind": "step",
        "run": "run",
        "rank": 2,
        "step": 7,
        "attempt": 1,
    }
    assert sender.dropped == 0


def test_a_stopped_agent_costs_no_time_and_drops_are_counted(tmp_path: Path) -> None:
    server = listen(tmp_path / "s")
    sender = Telemetry(str(tmp_path / "s"), "run", 0, 0)
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(400):
        sender.send("step", filling="x" * 50_000)
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - waits
    assert sender.dropped > 100
    assert sender._queued <= QUEUE_BYTES
    # How often the kernel was asked to wait for something; how long a send took depends on what else the machine does.
    assert waits < 20
    sender.send("fatal", code="X")
    assert json.loads(sender._queue[-1])["kind"] == "fatal", "vital messages have room of their own"
    server.close()


def test_a_dead_agent_and_its_successor(tmp_path: Path) -> None:
    server = listen(tmp_path / "s")
    sender = Telemetry(str(tmp_path / "s"), "run", 0, 0)
    sender.send("hello")
    connection, _ = server.accept()
    connection.close()
    server.close()
    (tmp_path / "s").unlink()
    for index in range(5):
        sender.send("step", index=index)
    second = listen(tmp_path / "s")
    sender._retry_at = 0.0
    sender.send("step", index=5)
    connection, _ = second.accept()
    received = [m["index"] for m in read_lines(connection, sender, 4)]
    assert received[-1] == 5 and received == sorted(received)


def test_commands_come_back_and_garbage_is_dropped(tmp_path: Path) -> None:
    server = listen(tmp_path / "s")
    sender = Telemetry(str(tmp_path / "s"), "run", 0, 0)
    assert sender.receive() == []
    connection, _ = server.accept()
    connection.sendall(b'{"kind":"command","id":"c1","do":"stop"}\nnot json\n{"kind":"comm')
    assert sender.receive() == [{"kind": "command", "id": "c1", "do": "stop"}]
    connection.sendall(b'and","id":"c2"}\n')
    assert sender.receive() == [{"kind": "command", "id": "c2"}]
    assert sender.dropped == 1


def test_without_a_path_nothing_happens() -> None:
    sender = Telemetry(None, "run", 0, 0)
    sender.send("step", filling="x")
    assert sender.receive() == [] and sender.dropped == 0 and not sender._queue


def test_a_path_longer_than_a_socket_address_is_reached(tmp_path: Path, monkeypatch: Any) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind("s")
    server.listen(1)
    sender = Telemetry(str(deep / "s"), "run", 0, 0)
    sender.send("hello")
    connection, _ = server.accept()
    assert json.loads(connection.recv(65536))["kind"] == "hello"
