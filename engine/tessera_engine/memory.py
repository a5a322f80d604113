"""Free memory of a rank's device, and the check of what the plan needs against it before anything is built."""

from __future__ import annotations

import os
from typing import Any

import torch

from tessera_engine.errors import EngineError


def free_memory(device: torch.device) -> dict[str, int]:
    """Bytes {"free", "total"} of a device. The CPU's are shared by all processes of the node; whoever starts them says
    what there is (TESSERA_MEMORY, "free/total"), else all that the machine has counts as free.
    """
    if device.type != "cpu":
        free, total = torch.accelerator.get_memory_info(device)
    else:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free, total = os.environ.get("TESSERA_MEMORY", f"{most}/{most}").split("/")
    return {"free": int(free), "total": int(total)}


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
