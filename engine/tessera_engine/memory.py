"""Free memory of a rank's device, and the check of what the plan needs against it before anything is built."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from tessera_engine.errors import EngineError

# Control groups, version 2 and 1: root, limit, use, and the statistic of file pages that can be dropped.
GROUPS = {
    "": ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(device: torch.device, system: str = "/") -> dict[str, int]:
    """Bytes {"free", "total"} of a device. The CPU's are shared by all processes of the node: what the kernel can give,
    or what is left of the tightest limit of the control groups around this process. `system`: root of /proc and /sys.
    """
    if device.type != "cpu":
        free, total = torch.accelerator.get_memory_info(device)
        return {"free": int(free), "total": int(total)}
    known = _table(Path(f"{system}/proc/meminfo"))
    free, total = known["MemAvailable:"] * 1024, known["MemTotal:"] * 1024
    for line in Path(f"{system}/proc/self/cgroup").read_text().splitlines():
        _, kind, inside = line.split(":", 2)
        if kind not in GROUPS:
            continue
        root, limit_name, used_name, file_pages = GROUPS[kind]
        # Inside a container the path may be the host's; what is mounted at the root is then the container's own group.
        for parent in (PurePosixPath(inside), *PurePosixPath(inside).parents):
            folder = Path(f"{system}{root}{parent}")
            limit, used = _number(folder / limit_name), _number(folder / used_name)
            if limit is not None and used is not None and limit < total:
                droppable = _table(folder / "memory.stat").get(file_pages, 0)
                total, free = limit, min(free, limit - used + droppable)
    return {"free": max(0, free), "total": total}


def check_memory(needed: int, device: torch.device, rank: int, lighter: str = "") -> None:
    """Refuses to start a rank whose plan needs more than its device has free now; ranks of a node share the CPU's.

    `lighter`: settings that need less, for whoever reads the error.
    """
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
    here = free_memory(device)
    free = here["free"] // sharing
    if needed <= free:
        return
    facts: dict[str, Any] = {"needed": needed, "free": free, "device": str(device), "sharing": sharing}
    short = f"rank {rank} needs {needed} bytes on {device}, {free} are free ({sharing} ranks share it)"
    raise EngineError("ENGINE_MEMORY", short, rank=rank, lighter=lighter, **facts)


def _table(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None
