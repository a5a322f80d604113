"""`doctor`: what this Python can train on, as one JSON line."""

from __future__ import annotations

import os
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
    kind = torch.accelerator.current_accelerator()
    assert kind is not None
    found: list[dict[str, Any]] = []
    for index in range(torch.accelerator.device_count()):
        module = torch.get_device_module(kind.type)
        properties = module.get_device_properties(index)
        found.append(
            {
                "type": kind.type,
                "index": index,
                "name": getattr(properties, "name", kind.type),
                "memoryBytes": int(getattr(properties, "total_memory", 0)),
            }
        )
    return found


def main(arguments: list[str]) -> int:
    """Prints the result line; exit code 3 when something the engine needs is missing."""
    result: dict[str, Any] = {"kind": "result", "python": platform.python_version(), "executable": sys.executable}
    try:
        import safetensors
        import torch
        import transformers
    except ImportError as error:
        emit({**result, "ok": False, "code": "ENGINE_PACKAGE_MISSING", "message": str(error), "package": error.name})
        return 3
    problem = _gloo()
    result |= {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "safetensors": safetensors.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": _devices(),
        "gloo": problem is None,
        "nccl": torch.distributed.is_nccl_available(),
    }
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if problem is not None:
        emit({**result, "ok": False, "code": "ENGINE_GLOO", "message": problem})
        return 3
    if version < (2, 10):
        message = f"torch {torch.__version__} is older than 2.10"
        emit({**result, "ok": False, "code": "ENGINE_TORCH_OLD", "message": message})
        return 3
    emit({**result, "ok": True})
    return 0
