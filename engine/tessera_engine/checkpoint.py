"""Saving while training goes on, and loading only what is whole.

A save has three parts. *Stage* (the only part that training waits for): every local shard is copied into a host
buffer that is allocated once and reused. *Write* (a thread): PyTorch DCP plans who writes what, each rank writes and
hashes its file, all over a gloo group of its own so that no collective of training interleaves. *Publish* (rank 0):
manifest, then one rename. A rank that dies anywhere leaves a folder that no reader looks at.

The price of staging is one more copy of weights and optimizer state in host memory; the gain is a stall of one memory
copy instead of a write.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import DefaultSavePlanner
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner

from tessera_engine import manifest as files
from tessera_engine.agree import nothing, together
from tessera_engine.errors import EngineError, peer_lost
from tessera_engine.manifest import Manifest
from tessera_engine.pieces import Piece
from tessera_engine.storage import INDEX, RawReader, file_of, index_of, write_pieces

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """How a save ended; `error` None means it was published at `path`."""

    step: int
    path: str
    stall_seconds: float
    seconds: float
    bytes: int
    error: EngineError | None


class Saver:
    """Saves states of one run; all ranks of `group` (gloo, used by nothing else) call `begin` at the same step.

    `describe`: what the index says of a tensor beside its pieces, by its name.
    """

    def __init__(
        self, folder: Path, keep: int, group: dist.ProcessGroup, describe: Callable[[str], dict[str, Any]]
    ) -> None:
        self.folder, self.keep, self.group, self._describe = folder, keep, group, describe
        self._staged: State = {}
        self._thread: threading.Thread | None = None
        self._result: Saved | None = None
        self._signature: dict[str, Any] = {}
        self._plan = SavePlan([])
        self._planner: SavePlanner = DefaultSavePlanner()
        self._index = ""

    @property
    def busy(self) -> bool:
        """True while this rank still writes."""
        return self._thread is not None and self._thread.is_alive()

    def stage(self, state: State) -> None:
        """Copies `state` into the reused buffers; a call before training takes their allocation off the first save."""
        sources, targets = [], []
        for name, tensor in state.items():
            local = _local(tensor)
            staged = self._staged.get(name)
            buffer = None if staged is None else _local(staged)
            if buffer is None or buffer.shape != local.shape or buffer.dtype != local.dtype:
                buffer = torch.empty(local.shape, dtype=local.dtype, pin_memory=local.device.type != "cpu")
            # Which experts the slots hold changes with every move: the blocks are always those of now.
            self._staged[name] = tensor.like(buffer) if isinstance(tensor, Piece) else buffer
            sources.append(local)
            targets.append(buffer)
        for name in self._staged.keys() - state.keys():
            del self._staged[name]
        torch._foreach_copy_(targets, sources, non_blocking=True)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def begin(self, state: State, manifest: Manifest) -> float:
        """Stages `state` and starts the write; returns the seconds that training was held up."""
        assert not self.busy, "the previous save has not finished"
        started = time.perf_counter()
        with torch.no_grad():
            self.stage(state)
        stall = time.perf_counter() - started
        self._result = None
        # A daemon: a rank that must stop is never held by a save whose peers are gone.
        self._thread = threading.Thread(target=self._write, args=(manifest, stall), name="checkpoint", daemon=True)
        self._thread.start()
        return stall

    def poll(self) -> Saved | None:
        """The finished save's outcome, once."""
        if self.busy:
            return None
        result, self._result, self._thread = self._result, None, None
        return result

    def finish(self) -> Saved | None:
        """Waits for the write under way, if there is one."""
        if self._thread is not None:
            self._thread.join()
        return self.poll()

    def _write(self, manifest: Manifest, stall: float) -> None:
        started = time.perf_counter()
        path = files.temporary(self.folder, manifest.step)
        total, error = 0, None
        try:
            published, total = self._write_and_publish(path, manifest)
            path = published
        except EngineError as failure:
            error = failure
        except Exception as failure:  # whatever it is, training goes on and the controller hears of it
            error = peer_lost(failure) or _save_error(failure, path)
        if error is not None and dist.get_rank(self.group) == 0:
            shutil.rmtree(path, ignore_errors=True)
        self._result = Saved(manifest.step, str(path), stall, time.perf_counter() - started, total, error)

    def _make_plan(self, rank: int) -> None:
        """Lets DCP divide the pieces among the ranks; the plan of the last save holds until an expert moves."""
        signature = {
            name: (tensor.blocks if isinstance(tensor, Piece) else tuple(tensor.shape), _local(tensor).data_ptr())
            for name, tensor in self._staged.items()
        }
        if all(together(self.group, lambda: signature == self._signature)):
            return
        planner = DefaultSavePlanner()
        planner.set_up_planner(dict(self._staged), is_coordinator=rank == 0)
        world = dist.get_world_size(self.group)
        plans: list[Any] | None = [None] * world if rank == 0 else None
        dist.gather_object(planner.create_local_plan(), plans, dst=0, group=self.group)
        finals: list[Any] | None = None
        if plans is not None:
            try:
                finals, metadata = planner.create_global_plan(plans)
                self._index = index_of(metadata, finals, self._describe)
            except Exception as error:  # the others wait for an answer
                finals = [error] * world
        mine: list[Any] = [None]
        dist.scatter_object_list(mine, finals, src=0, group=self.group)
        if isinstance(mine[0], Exception):
            raise mine[0]
        self._plan, self._planner, self._signature = planner.finish_plan(mine[0]), planner, signature

    def _write_and_publish(self, path: Path, manifest: Manifest) -> tuple[Path, int]:
        rank = dist.get_rank(self.group)

        def clear() -> None:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

        def write() -> list[files.File]:
            mine = [write_pieces(path, file_of(rank), self._plan, self._planner)]
            if rank == 0:
                files.write_synced(path / INDEX, self._index)
                mine.append(files.describe(path, INDEX))
            return mine

        together(self.group, clear if rank == 0 else nothing)
        self._make_plan(rank)
        listed = [file for part in together(self.group, write) for file in part]
        tables = together(self.group, lambda: manifest.placement)
        placement = {layer: slots for table in tables for layer, slots in table.items()}
        whole = replace(manifest, files=sorted(listed, key=lambda file: file.name), placement=placement)

        def publish() -> Path | None:
            if rank != 0:
                return None
            target = files.publish(self.folder, whole)
            files.prune(self.folder, self.keep)
            return target

        target = together(self.group, publish)[0]
        assert isinstance(target, Path)
        return target, sum(file.bytes for file in listed)


def choose(
    folder: Path, resume: str, group: dist.ProcessGroup, report: Callable[[EngineError], None]
) -> tuple[Path, Manifest] | None:
    """The checkpoint to resume from, verified byte by byte, the ranks of `group` sharing the work.

    `resume` is "none", "auto" (newest good one; each damaged one is reported and passed over) or a path (that one or
    an error). None means a fresh start; "auto" with checkpoints of which none is good raises, for restarting from
    zero would hide the loss.
    """
    rank = dist.get_rank(group)
    together(group, (lambda: files.tidy(folder)) if rank == 0 else nothing)
    if resume == "none":
        return None
    candidates = [path for _, path in files.published(folder)] if resume == "auto" else [Path(resume)]
    candidates = together(group, lambda: candidates)[0]
    last: EngineError | None = None
    for path in candidates:
        try:
            return path, verify(path, group)
        except EngineError as error:
            if resume != "auto":
                raise
            report(error)
            last = error
    if last is not None:
        message = f"none of {len(candidates)} checkpoints in {folder} is whole; last: {last.message}"
        raise EngineError("ENGINE_CHECKPOINT_NONE_GOOD", message, folder=str(folder), **last.facts)
    return None


def verify(path: Path, group: dist.ProcessGroup | None = None) -> Manifest:
    """Checks every file against the manifest; raises the same coded error, naming the file, on all ranks."""
    manifest = files.read(path)
    rank, world = (dist.get_rank(group), dist.get_world_size(group)) if group is not None else (0, 1)

    def check() -> EngineError | None:
        return next((e for f in manifest.files[rank::world] if (e := files.damage(path, f)) is not None), None)

    found = together(group, check) if group is not None else [check()]
    for error in found:
        if error is not None:
            raise error
    return manifest


def load(path: Path, state: State, group: dist.ProcessGroup | None) -> None:
    """Fills the tensors of `state` in place from a verified checkpoint of any layout."""
    try:
        dcp.load(state, storage_reader=RawReader(path), process_group=group, no_dist=group is None)
    except CheckpointException as failure:
        message = f"{path} does not fit this model: {_first(failure)}"
        raise EngineError("ENGINE_CHECKPOINT_MISMATCH", message, file=str(path)) from failure


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.local if isinstance(tensor, Piece) else tensor.detach()


def _first(failure: CheckpointException) -> str:
    return next((f"rank {r}: {type(e[0]).__name__}: {e[0]}" for r, e in failure.failures.items()), str(failure))


def _save_error(failure: BaseException, path: Path) -> EngineError:
    free = -1
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path.parent).free
    full = isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    code = "ENGINE_CHECKPOINT_DISK_FULL" if full else "ENGINE_CHECKPOINT_SAVE"
    return EngineError(code, f"{type(failure).__name__}: {failure}", file=str(path), freeBytes=free)
