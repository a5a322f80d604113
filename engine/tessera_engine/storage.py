"""How PyTorch DCP's pieces lie on disk: one file of raw bytes a rank, and one JSON index.

DCP plans who writes and who reads what; this only moves the bytes. Against DCP's own files (one pickled archive per
piece, and a pickled index) a save takes a fraction of the processor time that training wants, a load is a copy out of a
memory map, and a checkpoint from anywhere can run no code.

    rank-3.bin    pieces one after another, each starting at a multiple of 64
    index.json    {"tensors": {name: {"dtype", "shape", "pieces": [{"offsets", "sizes", "file", "start"}], ...}}}

What else stands beside a tensor's pieces (`hf.on_disk`) is for those who export it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import StorageReader
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner
from torch.futures import Future

from tessera_engine.errors import EngineError
from tessera_engine.manifest import File

INDEX = "index.json"
ALIGN = 64


def file_of(rank: int) -> str:
    """Name of a rank's file."""
    return f"rank-{rank}.bin"


def _starts(plan: SavePlan) -> list[tuple[MetadataIndex, int, int]]:
    """(piece, first byte, bytes) of everything in a rank's file: a pure function of its plan."""
    places, at = [], 0
    for item in plan.items:
        assert item.tensor_data is not None, f"{item.index.fqn} is no tensor"
        start = at + -at % ALIGN
        at = start + item.tensor_data.chunk.sizes.numel() * item.tensor_data.properties.dtype.itemsize
        places.append((item.index, start, at - start))
    return places


def write_pieces(path: Path, name: str, plan: SavePlan, planner: SavePlanner) -> File:
    """Writes and syncs one rank's file; the checksum is of what was handed to the disk."""
    digest, at = hashlib.sha256(), 0
    with open(path / name, "wb") as file:
        for item, (_, start, count) in zip(plan.items, _starts(plan), strict=True):
            tensor: Any = planner.resolve_data(item)
            data = memoryview(tensor.detach().contiguous().flatten().view(torch.uint8).numpy())
            assert len(data) == count, f"{item.index.fqn} changed its size"
            for part in (bytes(start - at), data):
                file.write(part)
                digest.update(part)
            at = start + count
        file.flush()
        os.fsync(file.fileno())
    return File(name, at, digest.hexdigest())


def index_of(metadata: Metadata, plans: list[SavePlan], describe: Callable[[str], dict[str, Any]]) -> str:
    """The index file's text for the plans of all ranks; `describe` says more of a tensor by its name."""
    places = {index: (file_of(r), start) for r, plan in enumerate(plans) for index, start, _ in _starts(plan)}
    tensors: dict[str, Any] = {}
    for name, entry in metadata.state_dict_metadata.items():
        assert isinstance(entry, TensorStorageMetadata)
        pieces = []
        for chunk in entry.chunks:
            file, start = places[MetadataIndex(name, chunk.offsets)]
            pieces.append({"offsets": [*chunk.offsets], "sizes": [*chunk.sizes], "file": file, "start": start})
        dtype = str(entry.properties.dtype).removeprefix("torch.")
        tensors[name] = {"dtype": dtype, "shape": [*entry.size], "pieces": pieces, **describe(name)}
    return json.dumps({"tensors": tensors}, separators=(",", ":"), sort_keys=True)


class RawReader(StorageReader):
    """Reads pieces out of memory-mapped files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[MetadataIndex, tuple[str, int, torch.dtype, torch.Size]] = {}
        self._maps: dict[str, torch.Tensor] = {}

    def reset(self, checkpoint_id: Any = None) -> None:
        """One reader serves one checkpoint."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The index as DCP knows it; raises `EngineError` for one that is none."""
        entries, file = {}, self.path / INDEX
        try:
            for name, entry in json.loads(file.read_text())["tensors"].items():
                dtype, size = getattr(torch, entry["dtype"]), torch.Size(entry["shape"])
                chunks = [
                    ChunkStorageMetadata(torch.Size(p["offsets"]), torch.Size(p["sizes"])) for p in entry["pieces"]
                ]
                entries[name] = TensorStorageMetadata(TensorProperties(dtype=dtype), size, chunks)
                for chunk, piece in zip(chunks, entry["pieces"], strict=True):
                    place = str(piece["file"]), int(piece["start"]), dtype, chunk.sizes
                    self._places[MetadataIndex(name, chunk.offsets)] = place
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError("ENGINE_CHECKPOINT_DAMAGED", f"cannot read {file}: {error}", file=str(file)) from error
        return Metadata(state_dict_metadata=entries)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Ranks that were given the index by another read where things lie themselves."""
        if not self._places:
            self.read_metadata()

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Nothing to add."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Nothing to add."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copies each wanted part of a piece into its place."""
        for item in plan.items:
            file, start, dtype, sizes = self._places[item.storage_index]
            count = sizes.numel() * dtype.itemsize
            stored = self._map(file)[start : start + count].view(dtype).view(sizes)
            for dim, (offset, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                stored = stored.narrow(dim, offset, length)
            target = planner.resolve_tensor(item).detach()
            target.copy_(stored)
            planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _map(self, name: str) -> torch.Tensor:
        if name not in self._maps:
            path = self.path / Path(name).name
            size = path.stat().st_size
            self._maps[name] = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        return self._maps[name]

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """Paths only."""
        return isinstance(checkpoint_id, str | os.PathLike)
