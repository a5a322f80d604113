"""Saving while training goes on, and loading only what is whole.

A save has three parts. *Stage* (the only part that training waits for): every local shard is copied into a host
buffer that is allocated once and reused. *Write* (a thread): PyTorch DCP writes the staged shards, each rank hashes its
files, all over a gloo group of its own so that no collective of training interleaves. *Publish* (rank 0): manifest,
then one rename. A rank that dies anywhere leaves a folder that no reader looks at.

The price of staging is one more copy of weights and optimizer state in host memory; the gain is a stall of one memory
copy instead of a write.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
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
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader

from tessera_engine import manifest as files
from tessera_engine.agree import nothing, together
from tessera_engine.errors import EngineError
from tessera_engine.manifest import Manifest
from tessera_engine.pieces import Piece

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
    """Saves states of one run; all ranks of `group` (gloo, used by nothing else) call `begin` at the same step."""

    def __init__(self, folder: Path, keep: int, group: dist.ProcessGroup) -> None:
        self.folder, self.keep, self.group = folder, keep, group
        self._staged: State = {}
        self._thread: threading.Thread | None = None
        self._result: Saved | None = None

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
        except (CheckpointException, OSError, RuntimeError) as failure:
            error = _save_error(failure, path)
        if error is not None and dist.get_rank(self.group) == 0:
            shutil.rmtree(path, ignore_errors=True)
        self._result = Saved(manifest.step, str(path), stall, time.perf_counter() - started, total, error)

    def _write_and_publish(self, path: Path, manifest: Manifest) -> tuple[Path, int]:
        rank = dist.get_rank(self.group)

        def clear() -> None:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)

        def write() -> None:
            writer = dcp.FileSystemWriter(path, thread_count=1, sync_files=True)
            dcp.save(self._staged, storage_writer=writer, process_group=self.group)

        def describe() -> list[files.File]:
            mine = sorted(p.name for p in path.glob(f"__{rank}_*"))
            return [files.describe(path, name) for name in mine + ([".metadata"] if rank == 0 else [])]

        together(self.group, clear if rank == 0 else nothing)
        write()
        listed = [file for part in together(self.group, describe) for file in part]
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
        dcp.load(state, storage_reader=SafeReader(path), process_group=group, no_dist=group is None)
    except CheckpointException as failure:
        message = f"{path} does not fit this model: {_first(failure)}"
        raise EngineError("ENGINE_CHECKPOINT_MISMATCH", message, file=str(path)) from failure


class SafeReader(FileSystemReader):
    """DCP's reader, but its pickled index may only name DCP's own plain records: a checkpoint can run no code."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        """The checkpoint's index of tensors."""
        metadata = _Unpickler(io.BytesIO((Path(self.path) / ".metadata").read_bytes())).load()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        plain = module in ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
        if plain or (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise EngineError("ENGINE_CHECKPOINT_DAMAGED", f"the checkpoint's index names {module}.{name}", name=name)


_ALLOWED = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch._utils", "_rebuild_device"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("pathlib", "Path"),
}


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.local if isinstance(tensor, Piece) else tensor.detach()


def _first(failure: CheckpointException) -> str:
    return next((f"rank {r}: {type(e[0]).__name__}: {e[0]}" for r, e in failure.failures.items()), str(failure))


def _save_error(failure: BaseException, path: Path) -> EngineError:
    message = _first(failure) if isinstance(failure, CheckpointException) else f"{type(failure).__name__}: {failure}"
    free = -1
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path.parent).free
    full = "No space left" in message or "ENOSPC" in message or os.strerror(122) in message
    code = "ENGINE_CHECKPOINT_DISK_FULL" if full else "ENGINE_CHECKPOINT_SAVE"
    return EngineError(code, message, file=str(path), freeBytes=free)
