"""The engine's commands, but ranks are struck at a moment that does not depend on how fast anything is.

TEST_KILL ("rank:n"): that rank dies by SIGKILL at the n-th all-to-all of its moves. TEST_FLY ("rank:attempt"): it does
in that attempt as the first rows of a move set out while the next step runs. TEST_SAVE ("rank"): it does as it
writes its part of a checkpoint. TEST_TERM ("rank:n"): it gets SIGTERM when it has told its n-th step. TEST_HOLD
("attempt:kind:step", more after commas): having told that, rank 0 goes no further, and with it no other rank.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import torch.distributed as dist

from tessera_engine import __main__, checkpoint, relocate
from tessera_engine.telemetry import Telemetry


def rank_here() -> str:
    return os.environ["RANK"]


class Deadly:
    """torch.distributed, counting all-to-alls."""

    calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(dist, name)

    def all_to_all_single(self, *arguments: Any, **options: Any) -> Any:
        rank, last = os.environ.get("TEST_KILL", "-1:0").split(":")
        self.calls += 1
        flies = (
            options.get("async_op") and os.environ.get("TEST_FLY") == f"{rank_here()}:{os.environ['TESSERA_ATTEMPT']}"
        )
        if flies or (rank_here() == rank and self.calls == int(last)):
            os.kill(os.getpid(), signal.SIGKILL)
        return dist.all_to_all_single(*arguments, **options)


def dying_write(*arguments: Any) -> Any:
    if rank_here() == os.environ.get("TEST_SAVE"):
        os.kill(os.getpid(), signal.SIGKILL)
    return write_pieces(*arguments)


def warned_send(self: Telemetry, kind: str, **fields: Any) -> None:
    send(self, kind, **fields)
    if kind == "step" and os.environ.get("TEST_TERM") == f"{self.rank}:{self.step}":
        os.kill(os.getpid(), signal.SIGTERM)
    told = f"{self.attempt}:{kind}:{fields.get('step', self.step)}"
    while self.rank == 0 and told in os.environ.get("TEST_HOLD", "").split(","):
        time.sleep(1)


write_pieces, send = checkpoint.write_pieces, Telemetry.send
if __name__ == "__main__":
    checkpoint.write_pieces = dying_write
    Telemetry.send = warned_send  # type: ignore[method-assign]
    relocate.dist = Deadly()  # type: ignore[attr-defined]
    sys.exit(__main__.main(sys.argv[1:]))
