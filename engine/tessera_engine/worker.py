"""One rank of a run: build, resume, check itself, then steps until done, told otherwise or something is wrong.

    init -> load -> selfcheck -> train (-> save) -> done

All ranks walk the same loop in lockstep. Everything that changes the run (commands, stop, saves, moves) happens at a
step boundary and is agreed on by all ranks first (control.py), so that none waits for one that decided otherwise.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine.errors import EngineError
from tessera_engine.telemetry import Telemetry

EXIT_ENVIRONMENT = 3
EXIT_NOT_FINITE = 40
# What torch says when a peer process is gone or silent; the cause is elsewhere, and the controller must know that.
PEER_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "timed out",
    "Timed out",
    "Timeout",
)


def read_spec(path: str) -> dict[str, Any]:
    """The worker spec, or a coded error naming the file."""
    try:
        spec = json.loads(Path(path).read_text())
    except OSError as error:
        raise EngineError("ENGINE_SPEC_MISSING", f"cannot read {path}: {error}", file=path) from error
    except ValueError as error:
        raise EngineError("ENGINE_SPEC_DAMAGED", f"{path} is not JSON: {error}", file=path) from error
    if not isinstance(spec, dict) or spec.get("v") != 1:
        raise EngineError("ENGINE_SPEC_VERSION", f"{path} is not a version 1 worker spec", file=path)
    return spec


def failure_of(error: BaseException) -> tuple[dict[str, Any], int]:
    """The `fatal` message's fields and the exit code for an exception that ended the rank."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, EngineError):
        return {**error.describe(), "traceback": trace}, error.exit_code
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in PEER_LOST):
        return {"code": "ENGINE_PEER_LOST", "message": text, "traceback": trace}, 1
    return {"code": "ENGINE_CRASH", "message": text, "traceback": trace}, 1


def main(arguments: list[str]) -> int:
    """Runs this rank; RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT come from the environment, as under torchrun."""
    path = arguments[0] if arguments else ""
    rank, attempt = int(os.environ.get("RANK", "0")), int(os.environ.get("TESSERA_ATTEMPT", "0"))
    telemetry = Telemetry(os.environ.get("TESSERA_SOCKET"), "", rank, attempt)
    try:
        spec = read_spec(path)
        telemetry.run = str(spec["run"])
        telemetry.send("hello", pid=os.getpid())
        return Worker(spec, telemetry).work()
    except Exception as error:
        fields, code = failure_of(error)
        telemetry.send("fatal", **fields)
        telemetry.drain(1.0)
        print(json.dumps({"kind": "fatal", "rank": rank, **fields}), file=sys.stderr, flush=True)
        return code


class Worker:
    """The state of one rank between steps."""

    def __init__(self, spec: dict[str, Any], telemetry: Telemetry) -> None:
        self.spec, self.telemetry = spec, telemetry
        self.stop_asked = False
        signal.signal(signal.SIGTERM, self._ask_stop)

    def _ask_stop(self, *_: object) -> None:
        self.stop_asked = True

    def work(self) -> int:
        """The rank's whole life; returns its exit code."""
        self.telemetry.send("phase", name="init")
        torch.set_num_threads(int(self.spec.get("threads", 1)))
        dist.init_process_group("gloo", timeout=timedelta(minutes=30))
        self.telemetry.send("phase", name="done")
        self.telemetry.drain(1.0)
        return 0
