"""Work that every rank does and none may fail alone: a rank left behind in a collective would wait for ever."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from tessera_engine.errors import EngineError


def together(group: dist.ProcessGroup, work: Callable[[], Any]) -> list[Any]:
    """Runs `work` on every rank of a gloo group and returns all results by rank.

    A failure of any rank is raised on all of them, the lowest rank's first: an `EngineError` or `OSError` as it was,
    a bug as a `RuntimeError` with its traceback.
    """
    outcome: tuple[str, Any]
    try:
        outcome = ("ok", work())
    except EngineError as error:
        outcome = ("coded", error)
    except OSError as error:
        outcome = ("os", (error.errno, error.strerror or str(error), error.filename))
    except Exception as error:
        outcome = ("bug", "".join(traceback.format_exception(error)))
    everything: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everything, outcome, group=group)
    for kind, value in everything:
        if kind == "coded":
            raise value
        if kind == "os":
            raise OSError(*value)
        if kind == "bug":
            raise RuntimeError(value)
    return [value for _, value in everything]


def nothing() -> None:
    """What a rank does when the work is another's."""
