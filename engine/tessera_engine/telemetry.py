"""What a rank tells its agent, over a unix socket, without ever waiting for it.

A send encodes one line, puts it on a bounded queue and writes what the kernel takes at that moment. An agent that is
slow, stopped or dead therefore costs a rank nothing but the queue's memory: past the bound, new messages are dropped
and counted, and the count travels with the next step. No thread: a step boundary comes often enough to drain the queue.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections import deque
from typing import Any

QUEUE_BYTES = 4 << 20
# Rare messages the controller decides on; they may use twice the queue before they too are dropped.
VITAL = frozenset({"hello", "fatal", "saved", "save_failed", "ack", "done", "parity", "moved", "phase", "placement"})
RECONNECT_SECONDS = 1.0


class Telemetry:
    """Sender and command receiver of one rank; `path` None (or "") switches it off."""

    def __init__(self, path: str | None, run: str, rank: int, attempt: int) -> None:
        self.path, self.run, self.rank, self.attempt = path or None, run, rank, attempt
        self.step = 0
        self.dropped = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._offset = 0  # bytes of the head line that the kernel already took
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._inbox = b""

    def send(self, kind: str, **fields: Any) -> None:
        """Queues one message and writes what goes without waiting."""
        if self.path is None:
            return
        head = {"v": 1, "kind": kind, "run": self.run, "rank": self.rank, "step": self.step, "t": time.time()}
        line = to_line({**head, "attempt": self.attempt, **fields})
        bound = QUEUE_BYTES * 2 if kind in VITAL else QUEUE_BYTES
        if self._queued + len(line) > bound:
            self.dropped += 1
        else:
            self._queue.append(line)
            self._queued += len(line)
        self._flush()

    def receive(self) -> list[dict[str, Any]]:
        """Complete messages that arrived since the last call; a line that is not JSON is dropped and counted."""
        if not self._connected():
            return []
        messages: list[dict[str, Any]] = []
        try:
            while True:
                assert self._socket is not None
                data = self._socket.recv(65536)
                if not data:
                    self._disconnect()
                    break
                self._inbox += data
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()
        *lines, self._inbox = self._inbox.split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                self.dropped += 1
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages

    def drain(self, seconds: float) -> None:
        """Tries for at most `seconds` to empty the queue; only for the last words of a rank."""
        until = time.monotonic() + seconds
        while self._queue and time.monotonic() < until:
            self._flush()
            if self._queue:
                time.sleep(0.005)

    def close(self) -> None:
        """Closes the socket; queued lines are lost."""
        self._disconnect()
        self.path = None

    def _connected(self) -> bool:
        if self._socket is not None:
            return True
        now = time.monotonic()
        if self.path is None or now < self._retry_at:
            return False
        self._retry_at = now + RECONNECT_SECONDS
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            connection.connect(_short(self.path))
        except OSError:
            connection.close()
            return False
        self._socket = connection
        return True

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._offset = 0  # a new connection gets the head line from its first byte
        self._inbox = b""

    def _flush(self) -> None:
        if not self._queue or not self._connected():
            return
        assert self._socket is not None
        try:
            while self._queue:
                self._offset += self._socket.send(memoryview(self._queue[0])[self._offset :])
                if self._offset == len(self._queue[0]):
                    self._queued -= len(self._queue.popleft())
                    self._offset = 0
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()


def to_line(message: dict[str, Any]) -> bytes:
    """One NDJSON line; numbers that JSON cannot write travel as the words "NaN", "Infinity" and "-Infinity"."""
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(message), separators=(",", ":"))
    return text.encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _short(path: str) -> str:
    # A unix socket's address holds 107 bytes; a deep run folder is reached through a path relative to here.
    return path if len(path.encode()) < 107 else os.path.relpath(path)
