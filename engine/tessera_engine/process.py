"""Small process facts that Python does not wrap: dying with the parent, and lines of JSON on a pipe."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, sig: int = signal.SIGKILL) -> None:
    """Asks the kernel to send `sig` to this process when `parent` ends (Linux; elsewhere closed pipes must do).

    The parent may have died between the fork and this call, then no signal would ever come, hence the check.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(3)


def emit(message: dict[str, Any]) -> None:
    """Writes one NDJSON line to stdout at once: nothing stays in a buffer for whoever reads there next."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]
