"""The zygote over its real protocol: real forks, real signals, real logs."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import Zygote


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    it = Zygote(patience=600)
    yield it
    it.end()


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
        zygote.link.sendall(line)
        assert zygote.read()["code"] == "ENGINE_ZYGOTE_REQUEST"
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    assert zygote.read()["kind"] == "spawned"
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    assert "still running" in zygote.read()["message"]


def test_an_agent_that_goes_takes_its_ranks_along_and_the_next_one_finds_the_imports_done(
    zygote: Zygote, tmp_path: Path
) -> None:
    spec = sleeper(tmp_path)
    for round in range(3):
        zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
        rank = zygote.read()["pid"]
        zygote.connect()
        # Ready is said after the ranks before are gone, so that two generations never train at once.
        assert not Path(f"/proc/{rank}").exists(), round
        assert zygote.ready["pid"] == zygote.process.pid


def test_without_an_agent_it_ends_its_ranks_at_once_and_itself_after_its_patience(tmp_path: Path) -> None:
    zygote = Zygote(patience=3)
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    rank = zygote.read()["pid"]
    began = time.monotonic()
    zygote.link.close()
    wait_gone(rank)
    assert zygote.process.poll() is None
    assert zygote.process.wait(60) == 0
    assert time.monotonic() - began >= 3
    assert not zygote.path.exists()
    zygote.end()


@pytest.mark.parametrize("how", ["quit", "SIGTERM"])
def test_told_to_end_it_ends_at_once_with_its_ranks(zygote: Zygote, tmp_path: Path, how: str) -> None:
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    rank = zygote.read()["pid"]
    if how == "quit":
        zygote.ask(do="quit")
    else:
        zygote.process.terminate()
    assert zygote.process.wait(60) == 0
    wait_gone(rank)


ENTRY = "import os, signal, socket, sys, time; from tessera_engine import __main__, zygote; "
LATE = """
class Late(socket.socket):
    def close(self):
        listened = self.fileno() >= 0 and self.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        super().close()
        while listened and not os.path.exists(sys.argv[2] + ".go"):
            time.sleep(0.01)
socket.socket = Late
"""
STRUCK = """
fork = os.fork
def struck():
    pid = fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = struck
"""


def program(change: str) -> tuple[str, ...]:
    return ("-c", f"{ENTRY}\n{change}\nsys.exit(__main__.main(sys.argv[1:]))")


def test_on_its_way_out_it_leaves_the_socket_of_the_next_one_alone() -> None:
    zygote = Zygote(program=program(LATE))
    zygote.ask(do="quit")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while probe.connect_ex(str(zygote.path)) == 0:
        probe.close()
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # It hears no more: an agent that comes now makes room for a new one, which listens at the same place.
    zygote.path.unlink(missing_ok=True)
    following = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    following.bind(str(zygote.path))
    Path(f"{zygote.path}.go").touch()
    assert zygote.process.wait(60) == 0
    assert zygote.path.exists()
    zygote.end()


def test_a_rank_that_is_struck_as_it_is_born_ends_alone(tmp_path: Path) -> None:
    zygote = Zygote(program=program(STRUCK))
    zygote.ask(do="spawn", rank=5, env={}, spec=str(tmp_path / "none"), stdout=str(tmp_path / "log"))
    pid = zygote.read()["pid"]
    assert zygote.read() == {"kind": "exited", "rank": 5, "pid": pid, "code": None, "signal": signal.SIGTERM}
    zygote.connect()
    zygote.end()


def test_children_end_when_the_zygote_is_killed(zygote: Zygote, tmp_path: Path) -> None:
    spec = sleeper(tmp_path)
    zygote.ask(do="spawn", rank=0, env={}, spec=str(spec), stdout=str(tmp_path / "log"))
    pid = zygote.read()["pid"]
    os.kill(zygote.process.pid, signal.SIGKILL)
    zygote.process.wait()
    wait_gone(pid)
