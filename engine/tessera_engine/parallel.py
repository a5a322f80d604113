"""Parallelism applied to a stage from outside: FSDP2, expert sharding, pipeline schedules, ordered reductions.

Dense tensors are sharded over all `dpShard` ranks on dim 0. Experts: a rank keeps only its slots (dim 0, no traffic of
weights over EP) and shares them over its `efsdp` ranks on dim 1, so an expert moves as one slice per rank.

Gradients are plain sums: every loss term is divided by a global count, and gloo refuses FSDP's pre-multiplied sum.
Deterministic runs reduce by all-to-all and then add in rank order, so the bits of an element do not depend on where in
a buffer it lies (a ring would start each chunk at another rank); on gloo this is also half the traffic of its own
reduce-scatter.

Zero-bubble schedules are not offered: with per-layer FSDP2 they lose gradients in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter
from torch.distributed.tensor import Shard

from tessera_engine.dispatch import Dispatcher
from tessera_engine.families import Family, Stage
from tessera_engine.mesh import Mesh, all_gather
from tessera_engine.pieces import Block, Piece
from tessera_engine.spec import Spec

Batch = tuple[torch.Tensor, torch.Tensor]


class OrderedReduceScatter(ReduceScatter):
    """Reduce-scatter as an all-to-all and a sum in rank order."""

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A buffer for FSDP."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: torch.Tensor,
        input_tensor: torch.Tensor,
        group: dist.ProcessGroup,
        op: Any,
        async_op: bool = False,
    ) -> None:
        """input [ranks * n] -> output [n], the sum over ranks 0, 1, ... of this rank's part."""
        parts = torch.empty_like(input_tensor)
        dist.all_to_all_single(parts, input_tensor, group=group)
        add_in_order(output_tensor, parts.view(group.size(), -1))


def add_in_order(out: torch.Tensor, parts: torch.Tensor) -> None:
    """out = parts[0] + parts[1] + ..., element by element in this order."""
    out.copy_(parts[0])
    for part in parts[1:]:
        out.add_(part)


def ordered_all_reduce(group: dist.ProcessGroup) -> Callable[[torch.Tensor], None]:
    """An all-reduce over replicas whose sum is in rank order."""

    def reduce(tensor: torch.Tensor) -> None:
        parts = tensor.new_empty((group.size(), tensor.numel()))
        all_gather(parts, tensor, group)
        add_in_order(tensor.view(-1), parts)

    return reduce


def experts_of(stage: Stage) -> dict[int, nn.Module]:
    """Experts modules of a stage by layer number (MTP depth d is layer L + d); empty for dense layers."""
    found = {int(n): getattr(getattr(block, "mlp", None), "experts", None) for n, block in stage.blocks().items()}
    return {n: experts for n, experts in found.items() if experts is not None}


def distribute(stage: Stage, spec: Spec, mesh: Mesh, family: Family) -> None:
    """Gives a meta-device stage its slots, FSDP and storage (uninitialised, but for rotary buffers)."""
    for name, parameter in stage.named_parameters():
        if any(fnmatch(name, pattern) for pattern in spec.freeze):
            parameter.requires_grad_(False)
    reshard = spec.layout.reshard_after_forward
    dtype = torch.bfloat16 if spec.precision.param == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=getattr(torch, spec.precision.reduce))
    options: dict[str, Any] = {
        "reshard_after_forward": spec.layout.pp == 1 if reshard is None else reshard,
        "mp_policy": policy,
    }
    experts = experts_of(stage)
    for layer, module in experts.items():
        _keep_my_slots(module, Dispatcher(family.experts, family.slots(layer), spec.layout.ep, mesh.ep_rank,
                                          mesh.ep_group, family.trace))  # fmt: skip
        fully_shard(module, mesh=mesh.efsdp, shard_placement_fn=lambda _: Shard(1), **options)
    for block in stage.model.layers.values():
        fully_shard(block, mesh=mesh.dense, **options)
    for block in stage.mtp.values():
        fully_shard(block, mesh=mesh.dense, **options)
    fully_shard(stage, mesh=mesh.dense, **options)
    ordered = spec.deterministic or mesh.device.type == "cpu"
    for module in stage.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            if ordered:
                module.set_custom_reduce_scatter(OrderedReduceScatter())
            if mesh.replicate_group is not None:
                module.set_all_reduce_hook(ordered_all_reduce(mesh.replicate_group))
    stage.to_empty(device=mesh.device)
    _restore_rotary(stage, family.config)


def _keep_my_slots(module: Any, dispatcher: Dispatcher) -> None:
    module.tessera = dispatcher
    for name, parameter in list(module.named_parameters(recurse=False)):
        shape = (len(dispatcher.mine), *parameter.shape[1:])
        local = torch.empty(shape, dtype=parameter.dtype, device="meta")
        module.register_parameter(name, nn.Parameter(local, parameter.requires_grad))


def _restore_rotary(stage: nn.Module, config: Any) -> None:
    """Computes again the buffers that no checkpoint holds; the meta device has lost them."""
    for module in stage.modules():
        if not type(module).__name__.endswith("RotaryEmbedding"):
            continue
        fresh: Any = type(module)(config)
        for name, buffer in module.named_buffers(recurse=False):
            buffer.copy_(getattr(fresh, name))


def local_of(tensor: Any) -> torch.Tensor:
    """The local part of a DTensor, or the tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def pieces_of(stage: Stage, mesh: Mesh) -> dict[str, tuple[nn.Parameter, Piece]]:
    """Every parameter of a stage by its logical name, with the piece that this rank holds at this moment."""
    slots = {id(p): m for m in experts_of(stage).values() for p in m.parameters(recurse=False)}
    found: dict[str, tuple[nn.Parameter, Piece]] = {}
    for name, parameter in stage.named_parameters():
        local, module = local_of(parameter.detach()), slots.get(id(parameter))
        if module is None:
            blocks = _rows(parameter.shape, local, mesh)
            found[name] = parameter, Piece.of(local, name, tuple(parameter.shape), blocks)
        else:
            way: Dispatcher = module.tessera
            whole = (way.experts, *parameter.shape[1:])
            found[name] = parameter, Piece.of(local, name, whole, _experts(way, local, mesh))
    return found


def _rows(shape: torch.Size, local: torch.Tensor, mesh: Mesh) -> tuple[Block, ...]:
    chunk = -(-shape[0] // mesh.layout.dp_shard)
    start = min(mesh.shard_rank * chunk, shape[0])
    if not local.shape[0]:
        return ()
    return (Block((start, *[0] * (local.dim() - 1)), tuple(local.shape)),)


def _experts(way: Dispatcher, local: torch.Tensor, mesh: Mesh) -> tuple[Block, ...]:
    sizes = (1, *local.shape[1:])
    rest = (mesh.efsdp_rank * local.shape[1], *[0] * (local.dim() - 2))
    start = way.ep_rank * len(way.mine)
    return tuple(
        Block((expert, *rest), sizes, slot, expert in way.copies and way.copies[expert][0] != start + slot)
        for slot, expert in enumerate(way.mine)
    )


class Runner:
    """Runs forward and backward of all micro-batches over this rank's stages, in the order of the schedule."""

    def __init__(self, stages: list[Stage], numbers: list[int], spec: Spec, mesh: Mesh, family: Family) -> None:
        self.stages, self.spec, self.mesh = stages, spec, mesh
        self.schedule: Any = None if spec.layout.pp == 1 else _schedule(stages, numbers, spec, mesh, family)

    def run(self, input_ids: torch.Tensor, labels: torch.Tensor) -> None:
        """input_ids, labels int64 [micro-batches * rows, s]. Gradients are left in the parameters, reduced."""
        if self.schedule is None:
            self._accumulate(input_ids, labels)
            return
        first, last = self.stages[0].first, self.stages[-1].last
        self.schedule.step(
            *((input_ids,) if first else ()),
            target=labels if last else None,
            input_ids=input_ids,
            labels=labels,
            return_outputs=False,
        )

    def _accumulate(self, input_ids: torch.Tensor, labels: torch.Tensor) -> None:
        stage: Any = self.stages[0]
        count = self.spec.micro_batches
        for i, (ids, wanted) in enumerate(zip(input_ids.chunk(count), labels.chunk(count), strict=True)):
            final = i == count - 1
            stage.set_is_last_backward(final)
            stage.set_reshard_after_backward(final or self.spec.layout.reshard_after_forward is not False)
            stage.set_requires_gradient_sync(final)
            stage(ids, input_ids=ids, labels=wanted).sum().backward()


def _schedule(stages: list[Stage], numbers: list[int], spec: Spec, mesh: Mesh, family: Family) -> Any:
    """A schedule of torch.distributed.pipelining with static shapes, so that no inference pass runs."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

    layout, batch = spec.layout, spec.batch
    rows, length, count = batch.micro_batch, batch.sequence_length, layout.pp * layout.vpp
    ids = torch.empty((rows, length), dtype=torch.int64, device=mesh.device)
    state = torch.empty(family.state_shape(rows, length), dtype=family.dtype, device=mesh.device, requires_grad=True)
    loss = torch.empty(1, device=mesh.device, requires_grad=True)
    made = [
        PipelineStage(
            stage, number, count, mesh.device,
            input_args=(ids if stage.first else state,), output_args=(loss if stage.last else state,),
            group=mesh.pp_group,
        )
        for number, stage in zip(numbers, stages, strict=True)
    ]  # fmt: skip
    options: dict[str, Any] = {"n_microbatches": spec.micro_batches, "loss_fn": _as_is, "scale_grads": False}
    if layout.vpp == 1:
        return Schedule1F1B(made[0], **options)
    return ScheduleInterleaved1F1B(made, **options)


def _as_is(output: torch.Tensor, _target: torch.Tensor) -> torch.Tensor:
    """The last stage has computed its loss already."""
    return output.sum()
