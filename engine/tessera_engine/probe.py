"""`doctor`: what this Python can train on, as one JSON line."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from typing import Any

from tessera_engine.process import emit


def _gloo() -> str | None:
    """None when a one-process gloo group works, else why not."""
    import torch
    import torch.distributed as dist

    path = tempfile.mkdtemp(prefix="tessera-doctor-")
    try:
        dist.init_process_group("gloo", init_method=f"file://{path}/store", rank=0, world_size=1)
        total = torch.ones(1)
        dist.all_reduce(total)
        dist.destroy_process_group()
        return None if total.item() == 1 else "all-reduce returned a wrong sum"
    except (RuntimeError, OSError, ValueError) as error:
        return str(error)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _devices() -> list[dict[str, Any]]:
    import torch

    if not torch.accelerator.is_available():
        return []
    kind = str(torch.accelerator.current_accelerator())
    all_of = range(torch.accelerator.device_count())
    found = [(index, torch.get_device_module(kind).get_device_properties(index)) for index in all_of]
    return [
        {"type": kind, "index": i, "name": getattr(p, "name", kind), "memoryBytes": int(getattr(p, "total_memory", 0))}
        for i, p in found
    ]


def main(arguments: list[str]) -> int:
    """Prints what is there, for the caller to judge; `missing` a package, `gloo` false and why."""
    result: dict[str, Any] = {"kind": "result", "python": platform.python_version(), "executable": sys.executable}
    try:
        import safetensors
        import torch
        import transformers
    except ImportError as error:
        emit({**result, "missing": error.name})
        return 0
    problem = _gloo()
    result |= {package.__name__: package.__version__ for package in (torch, transformers, safetensors)}
    emit({**result, "devices": _devices(), "gloo": problem is None, "why": problem})
    return 0
