"""Step boundaries: where ranks agree on what to do next.

Rank 0 alone hears the agent, but every rank must obey at the same step, and a signal or a failed save may have reached
any of them. One small all-reduce a step carries all of that; only when rank 0 has commands does a broadcast follow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine.telemetry import Telemetry


@dataclass(frozen=True)
class Boundary:
    """What all ranks learned together: commands in order; was any rank asked to stop; does any still save."""

    commands: list[dict[str, Any]]
    stop: bool
    saving: bool


def meet(group: dist.ProcessGroup, telemetry: Telemetry, stop: bool, saving: bool) -> Boundary:
    """Collective over `group` (gloo, all ranks); the group's first rank must be rank 0."""
    payload = b""
    if dist.get_rank() == 0:
        commands = [m for m in telemetry.receive() if m.get("kind") == "command"]
        payload = json.dumps(commands).encode() if commands else b""
    facts = torch.tensor([len(payload), int(stop), int(saving)])
    dist.all_reduce(facts, op=dist.ReduceOp.MAX, group=group)
    length, any_stop, any_saving = facts.tolist()
    commands = []
    if length:
        text = torch.zeros(length, dtype=torch.uint8)
        if payload:
            text.copy_(torch.frombuffer(bytearray(payload), dtype=torch.uint8))
        dist.broadcast(text, src=0, group=group)
        commands = json.loads(bytes(text.tolist()))
    return Boundary(commands, bool(any_stop), bool(any_saving))
