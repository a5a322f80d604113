"""The engine's commands, but the rank of TEST_KILL ("rank:n") dies by SIGKILL at the n-th all-to-all of its moves."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import torch.distributed as dist

from tessera_engine import __main__, relocate


class Deadly:
    """torch.distributed, counting all-to-alls."""

    calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(dist, name)

    def all_to_all_single(self, *arguments: Any, **options: Any) -> Any:
        rank, last = os.environ.get("TEST_KILL", "-1:0").split(":")
        self.calls += 1
        if os.environ["RANK"] == rank and self.calls == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
        return dist.all_to_all_single(*arguments, **options)


if __name__ == "__main__":
    relocate.dist = Deadly()  # type: ignore[attr-defined]
    sys.exit(__main__.main(sys.argv[1:]))
