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
from pathlib import Path
from typing import Any

from tessera_engine.errors import EngineError, peer_lost
from tessera_engine.telemetry import Telemetry


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
    cause: BaseException | None = error  # a pipeline schedule wraps what its stages raise
    while cause is not None:
        if "EADDRINUSE" in str(cause):
            message = f"port {os.environ.get('MASTER_PORT')} was taken by another process: {cause}"
            return {"code": "ENGINE_PORT_TAKEN", "message": message, "traceback": trace}, 1
        if (lost := peer_lost(cause)) is not None:
            return {**lost.describe(), "traceback": trace}, lost.exit_code
        cause = cause.__cause__
    return {"code": "ENGINE_CRASH", "message": text, "traceback": trace}, 1


def main(arguments: list[str]) -> int:
    """Runs this rank; RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT come from the environment, as under torchrun."""
    path = arguments[0] if arguments else ""
    rank, attempt = int(os.environ.get("RANK", "0")), int(os.environ.get("TESSERA_ATTEMPT", "0"))
    telemetry = Telemetry(os.environ.get("TESSERA_SOCKET"), "", rank, attempt)
    try:
        document = read_spec(path)
        telemetry.run = str(document.get("run", ""))
        telemetry.send("hello", pid=os.getpid())
        code = _train(document, telemetry)
    except Exception as error:
        fields, code = failure_of(error)
        telemetry.send("fatal", **fields)
        print(json.dumps({"kind": "fatal", "rank": rank, **fields}), file=sys.stderr, flush=True)
    telemetry.drain(1.0)
    return code


def _train(document: dict[str, Any], telemetry: Telemetry) -> int:
    telemetry.send("phase", name="init")
    from tessera_engine.loop import Loop

    loop = Loop(document, telemetry)

    def stop(*_: object) -> None:
        loop.stop_asked = True

    signal.signal(signal.SIGTERM, stop)
    loop.prepare()
    loop.train()
    telemetry.send("phase", name="done")
    telemetry.send("done")
    return 0


def script(arguments: list[str]) -> int:
    """`main` for a process of its own: leaves without the teardown that can hang on threads of dead peers."""
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
