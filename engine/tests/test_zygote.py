"""The zygote over its real protocol: real forks, real signals, real logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ENGINE = Path(__file__).resolve().parents[1]


class Zygote:
    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tessera_engine", "zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.ready = self.read()

    def ask(self, **request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the zygote closed its stdout"
        message: dict[str, Any] = json.loads(line)
        return message


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    it = Zygote()
    yield it
    it.process.kill()
    it.process.wait()


def wait_gone(pid: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} lives on")


def sleeper(tmp_path: Path) -> Path:
    """A spec on which a rank waits: it blocks opening a fifo that nobody writes."""
    fifo = tmp_path / "worker.json"
    os.mkfifo(fifo)
    return fifo


def test_ready_names_versions_and_forks_from_one_thread(zygote: Zygote) -> None:
    assert zygote.ready["kind"] == "ready"
    assert zygote.ready["pid"] == zygote.process.pid
    assert zygote.ready["torch"].startswith("2.")
    assert zygote.ready["threads"] == 1


def test_spawn_reports_pid_exit_code_and_writes_its_own_log(zygote: Zygote, tmp_path: Path) -> None:
    log = tmp_path / "rank-0.log"
    zygote.ask(do="spawn", rank=0, env={"RANK": "0"}, spec=str(tmp_path / "absent.json"), stdout=str(log))
    spawned = zygote.read()
    assert spawned["kind"] == "spawned" and spawned["rank"] == 0
    exited = zygote.read()
    assert exited == {"kind": "exited", "rank": 0, "pid": spawned["pid"], "code": 3, "signal": None}
    assert "ENGINE_SPEC" in log.read_text()


def test_kill_reports_the_signal(zygote: Zygote, tmp_path: Path) -> None:
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=3, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    pid = zygote.read()["pid"]
    zygote.ask(do="kill", rank=3, signal=9)
    assert zygote.read() == {"kind": "exited", "rank": 3, "pid": pid, "code": None, "signal": 9}


def test_a_bad_request_is_an_error_line_and_not_the_end(zygote: Zygote, tmp_path: Path) -> None:
    for line in (b"not json\n", b'{"do":"dance"}\n', b'{"do":"spawn"}\n'):
        assert zygote.process.stdin is not None
        zygote.process.stdin.write(line)
        zygote.process.stdin.flush()
        assert zygote.read()["code"] == "ENGINE_ZYGOTE_REQUEST"
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    assert zygote.read()["kind"] == "spawned"
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    assert "still running" in zygote.read()["message"]


def test_children_end_when_stdin_closes(zygote: Zygote, tmp_path: Path) -> None:
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    pid = zygote.read()["pid"]
    assert zygote.process.stdin is not None
    zygote.process.stdin.close()
    assert zygote.process.wait(10) == 0
    wait_gone(pid)


def test_children_end_when_the_zygote_is_killed(zygote: Zygote, tmp_path: Path) -> None:
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    pid = zygote.read()["pid"]
    os.kill(zygote.process.pid, signal.SIGKILL)
    zygote.process.wait()
    wait_gone(pid)
