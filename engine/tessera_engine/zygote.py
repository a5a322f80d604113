"""The pre-imported parent that forks ranks, one per agent: `zygote SOCKET SECONDS`.

Importing torch, transformers and the model classes takes seconds; a fork of a process that already has them takes
milliseconds. So the agent keeps this process, and a restart after a fault costs a fork and a load, not an import. It
outlives its agent, too: without one it ends its ranks at once and waits SECONDS at its unix SOCKET for the next.

Rules that make the fork safe: this process stays single-threaded (thread pools pinned to one, no torch computation
ever runs here), never opens a process group, and does nothing but wait for its agent and its children. A child gets
the kernel's parent-death signal, so no rank outlives the agent: agent gone -> connection closes -> ranks end.

in:  {"do":"spawn","rank","env","spec","stdout"} {"do":"kill","rank","signal"} {"do":"quit"}
out: {"kind":"ready"} {"kind":"spawned"} {"kind":"exited"} {"kind":"error"}, NDJSON both ways.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import traceback
from typing import Any

from tessera_engine.process import die_with_parent, emit

# Submodules that a rank needs and that `import torch` leaves for later.
PREIMPORT = (
    "torch.distributed",
    "torch.distributed.checkpoint",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.fsdp",
    "torch.distributed.pipelining",
    "torch.distributed.tensor",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper",
    "torch._dynamo",
    "safetensors.torch",
    "transformers",
    "transformers.masking_utils",
    "transformers.integrations.moe",
    "transformers.core_model_loading",
    "transformers.modeling_utils",
    "transformers.models.deepseek_v3.modeling_deepseek_v3",
    "transformers.models.deepseek_v4.modeling_deepseek_v4",
    "transformers.models.qwen3_moe.modeling_qwen3_moe",
    "tessera_engine.worker",
    "tessera_engine.loop",
)


def _become_worker(message: dict[str, Any], zygote: int) -> int:
    """Runs in the forked child: own log file, own signals, own random state, then the worker's main."""
    die_with_parent(zygote)
    signal.set_wakeup_fd(-1)
    for sig in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sig, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # A Ctrl-C on the terminal reaches the whole group: the controller decides what it means, ranks wait for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = os.open(str(message["stdout"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 256)
    # The standard streams keep their descriptors; only what the zygote had buffered must not be written twice.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update({str(k): str(v) for k, v in dict(message.get("env", {})).items()})
    random.seed()
    worker = importlib.import_module("tessera_engine.worker")
    code: int = worker.main([str(message["spec"])])
    return code


def _spawn(message: dict[str, Any], children: dict[int, int]) -> None:
    rank = int(message["rank"])
    if rank in children.values():
        raise ValueError(f"rank {rank} is still running")
    zygote = os.getpid()
    sys.stdout.flush()
    # Until it is a rank, a child must not answer a signal as this process would: by ending all ranks.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _become_worker(message, zygote)
        except SystemExit as exit_request:
            code = exit_request.code if isinstance(exit_request.code, int) else 1
        except BaseException:
            with contextlib.suppress(Exception):
                traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # No interpreter teardown: it would run clean-up meant for the zygote and can hang on gloo's threads.
            os._exit(code)
    children[pid] = rank
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    emit({"kind": "spawned", "rank": rank, "pid": pid})


def _reap(children: dict[int, int]) -> None:
    for pid, rank in list(children.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done != pid:
            continue
        del children[pid]
        died = os.WIFSIGNALED(status)
        ending = (
            {"code": None, "signal": os.WTERMSIG(status)} if died else {"code": os.WEXITSTATUS(status), "signal": None}
        )
        emit({"kind": "exited", "rank": rank, "pid": pid, **ending})


def _end(children: dict[int, int]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    children.clear()


def _obey(line: bytes, children: dict[int, int]) -> bool:
    """Carries out one request line; False when asked to quit."""
    try:
        message = json.loads(line)
        if message["do"] == "quit":
            return False
        if message["do"] == "spawn":
            _spawn(message, children)
        elif message["do"] == "kill":
            for pid, rank in children.items():
                if rank == int(message["rank"]):
                    os.kill(pid, int(message.get("signal", signal.SIGKILL)))
        else:
            raise ValueError(f"unknown request {message['do']!r}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        emit({"kind": "error", "code": "ENGINE_ZYGOTE_REQUEST", "message": f"{type(error).__name__}: {error}"})
    return True


def _serve(wakeups: int, children: dict[int, int]) -> bool:
    """Serves the agent whose connection is stdin and stdout; True when it asked to quit, False when it went."""
    pending = b""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        if wakeups in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeups, 4096)
            _reap(children)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return False
            *lines, pending = (pending + data).split(b"\n")
            if not all(_obey(line, children) for line in lines if line.strip()):
                return True


def _listen(path: str) -> socket.socket:
    """The socket at which agents find this process: only its own user's."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    server.bind(path)
    os.umask(before)
    server.listen()
    return server


def main(arguments: list[str]) -> int:
    """Serves one agent after another until told to quit, or until none came for the given seconds."""
    path, patience = arguments[0], float(arguments[1])
    server = _listen(path)  # before the import: an agent that comes early waits in line
    for name in PREIMPORT:
        importlib.import_module(name)
    import torch
    import transformers

    children: dict[int, int] = {}
    wakeups, write_end = os.pipe()
    for end in (wakeups, write_end):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(write_end)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ready = {
        "kind": "ready",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "pid": os.getpid(),
        "threads": len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None,
    }
    try:
        told = False
        while not told and select.select([server], [], [], patience)[0]:
            agent, _ = server.accept()
            for stream in (0, 1):
                os.dup2(agent.fileno(), stream)
            agent.close()
            with contextlib.suppress(ConnectionError):  # gone while it was told something
                emit(ready)
                told = _serve(wakeups, children)
            _end(children)
    finally:
        # In this order: while it listens no agent starts another one, whose socket would have the same name.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server.close()
        _end(children)
    return 0


def script(arguments: list[str]) -> int:
    """`main` for a process of its own: leaves without torch's teardown, for the end of a run waits for this process."""
    os._exit(main(arguments))
