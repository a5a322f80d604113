"""Ranks, coordinates and process groups of a layout, the same on gloo, NCCL and HCCL.

Rank order: rank = ((ppRank * dpReplicate + replicate) * efsdp + efsdpRank) * ep + epRank, so the ranks that exchange
tokens most often are neighbours. Groups of one rank are never created: `None` stands for "alone".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from tessera_engine.errors import EngineError
from tessera_engine.spec import Layout


@dataclass(frozen=True)
class Mesh:
    """This rank's place. `dense` and `efsdp` are the one-dimensional meshes FSDP shards dense and expert tensors on."""

    layout: Layout
    device: torch.device
    rank: int
    pp_rank: int
    replicate_rank: int
    efsdp_rank: int
    ep_rank: int
    dense: DeviceMesh
    efsdp: DeviceMesh
    pp_group: dist.ProcessGroup | None
    ep_group: dist.ProcessGroup | None
    replicate_group: dist.ProcessGroup | None
    data_group: dist.ProcessGroup | None

    @property
    def shard_rank(self) -> int:
        """Place among the `dp_shard` ranks that share dense tensors."""
        return self.efsdp_rank * self.layout.ep + self.ep_rank

    @property
    def data_rank(self) -> int:
        """Place among the ranks that train on different rows: rank d takes the d-th slice of a global batch."""
        return self.replicate_rank * self.layout.dp_shard + self.shard_rank


def device_here() -> torch.device:
    """The accelerator of this rank (LOCAL_RANK counts within the node), or the CPU."""
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0")) % torch.accelerator.device_count()
    torch.accelerator.set_device_index(index)
    return torch.device(torch.accelerator.current_accelerator().type, index)


def build_mesh(layout: Layout, device: torch.device | None = None, timeout_seconds: float = 600.0) -> Mesh:
    """Joins the world if this process has not yet, and makes every group of the layout. Collective."""
    device = device or device_here()
    if not dist.is_initialized():
        backend = dist.get_default_backend_for_device(device.type)
        if "RANK" not in os.environ:
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        else:
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    rank, world = dist.get_rank(), dist.get_world_size()
    if world != layout.world:
        raise EngineError("ENGINE_WORLD", f"the layout is for {layout.world} ranks, {world} are here")
    shape = (layout.pp, layout.dp_replicate, layout.efsdp, layout.ep)
    numbers = torch.arange(world).view(shape)
    at = [int(i) for i in (numbers == rank).nonzero()[0]]
    shard = numbers.view(layout.pp, layout.dp_replicate, -1)
    groups = {
        "pp": _group(numbers.flatten(1).T, rank),
        "replicate": _group(shard.permute(0, 2, 1).flatten(0, 1), rank),
        "efsdp": _group(numbers.permute(0, 1, 3, 2).flatten(0, 2), rank),
        "ep": _group(numbers.flatten(0, 2), rank),
        "data": _group(numbers.flatten(1), rank),
    }
    shapes = {"dense": shard.flatten(0, 1), "efsdp": numbers.permute(0, 1, 3, 2).flatten(0, 2)}
    same = {layout.ep: "ep", layout.efsdp: "efsdp", layout.data_ranks: "data"}
    groups["dense"] = groups[same[layout.dp_shard]] if layout.dp_shard in same else _group(shapes["dense"], rank)
    meshes = {name: _mesh_of(groups[name], device, rank) for name in shapes}
    pp_rank, replicate_rank, efsdp_rank, ep_rank = at
    return Mesh(
        layout, device, rank, pp_rank, replicate_rank, efsdp_rank, ep_rank, meshes["dense"], meshes["efsdp"],
        groups["pp"], groups["ep"], groups["replicate"], groups["data"],
    )  # fmt: skip


def all_gather(out: torch.Tensor, part: torch.Tensor, group: dist.ProcessGroup) -> None:
    """out[i] = `part` of the group's i-th rank; out is contiguous, [ranks, *part.shape] or any shape of that size."""
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    gather(out.view(-1), part.contiguous().view(-1), group=group)


def _group(members: torch.Tensor, rank: int) -> dist.ProcessGroup | None:
    """The group of this rank among `members` [groups, size]; every rank must call with the same table."""
    if members.shape[1] == 1:
        return None
    if members.shape[0] == 1:
        return dist.group.WORLD
    mine, _ = dist.new_subgroups_by_enumeration(members.tolist())
    return mine


def _mesh_of(group: dist.ProcessGroup | None, device: torch.device, rank: int) -> DeviceMesh:
    if group is None:
        group = dist.group.WORLD if dist.get_world_size() == 1 else _myself(rank)
    return DeviceMesh.from_group(group, device.type)


@lru_cache(maxsize=1)
def _myself(rank: int) -> dist.ProcessGroup:
    """The group of this rank only, made without the others."""
    return dist.new_group([rank], use_local_synchronization=True)


def alone(mesh: Mesh) -> Mesh:
    """A mesh on which this rank is the whole world."""
    mine = _mesh_of(None, mesh.device, mesh.rank)
    return Mesh(Layout(), mesh.device, mesh.rank, 0, 0, 0, 0, mine, mine, None, None, None, None)
