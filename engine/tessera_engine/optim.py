"""AdamW on local shards, the learning-rate curve, the gradient norm, and the bias that balances experts.

The optimizer state has the geometry of its parameter, so a moved expert takes its moments along as slices, and a
checkpoint saves all of them alike. Weight decay spares tensors of one dimension (norms, biases, sinks).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from tessera_engine.mesh import Mesh, all_gather
from tessera_engine.parallel import local_of
from tessera_engine.pieces import Piece
from tessera_engine.spec import Moe, Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")
Pieces = dict[str, tuple[nn.Parameter, Piece]]


def learning_rate(spec: Optimizer, steps: int, step: int) -> float:
    """Rate of step 1 ... `steps`: linear warm-up, then a cosine from the peak to `min_ratio` of it at the last step.

    >>> learning_rate(Optimizer(1.0, warmup_steps=2, min_ratio=0.0), 4, 1)
    0.5
    """
    if step <= spec.warmup_steps:
        return spec.learning_rate * step / spec.warmup_steps
    if spec.decay == "constant":
        return spec.learning_rate
    done = min(1.0, (step - spec.warmup_steps) / max(1, steps - spec.warmup_steps))
    return spec.learning_rate * (spec.min_ratio + (1 - spec.min_ratio) * 0.5 * (1 + math.cos(math.pi * done)))


class AdamW:
    """Decoupled weight decay Adam (arXiv 1711.05101) over one rank's pieces; moments are float32 and start at zero."""

    def __init__(self, spec: Optimizer, pieces: Pieces) -> None:
        self.spec, self.steps = spec, 0
        self.moments: dict[str, dict[str, torch.Tensor]] = {
            moment: {n: torch.zeros_like(piece.local) for n, (p, piece) in pieces.items() if p.requires_grad}
            for moment in MOMENTS
        }

    def step(self, pieces: Pieces, rate: float) -> None:
        """One update of every parameter that has a gradient."""
        self.steps += 1
        for decays in (True, False):
            chosen = [
                (n, piece.local, local_of(p.grad))
                for n, (p, piece) in pieces.items()
                if p.grad is not None and piece.local.numel() and decays == (len(piece.whole) > 1)
            ]
            if chosen:
                self._update(chosen, rate, self.spec.weight_decay if decays else 0.0)

    def _update(self, chosen: list[tuple[str, torch.Tensor, torch.Tensor]], rate: float, decay: float) -> None:
        names, parameters, gradients = zip(*chosen, strict=True)
        device = parameters[0].device
        fused = device.type in ("cpu", "cuda")
        # The functional form counts up before use; one shared counter per call keeps steps of all parameters equal.
        counters = [torch.tensor(float(self.steps - 1), device=device if fused else None) for _ in names]
        adamw(
            list(parameters), list(gradients), *([self.moments[m][n] for n in names] for m in MOMENTS), [], counters,
            foreach=not fused, fused=fused, amsgrad=False, beta1=self.spec.betas[0], beta2=self.spec.betas[1],
            lr=rate, weight_decay=decay, eps=self.spec.eps, maximize=False,
        )  # fmt: skip

    def pieces(self, pieces: Pieces) -> dict[str, Piece]:
        """The state as pieces, named `<moment>/<parameter>`."""
        return {
            f"{moment}/{n}": pieces[n][1].like(tensor, f"{moment}/{n}")
            for moment, tensors in self.moments.items()
            for n, tensor in tensors.items()
        }


def squared_norms(pieces: Pieces, skip: frozenset[str]) -> torch.Tensor:
    """float64 [entries]: squared gradient norm of this rank's part of each dense tensor and of each logical expert.

    Experts stand at their logical number, so the vector, and every sum over it, is the same for all placements.
    """
    parts: list[torch.Tensor] = []
    for name, (parameter, piece) in pieces.items():
        if not parameter.requires_grad or name in skip:
            continue
        gradient = None if parameter.grad is None else local_of(parameter.grad)
        slots = [block for block in piece.blocks if block.slot is not None]
        if slots:
            part = torch.zeros(piece.whole[0], dtype=torch.float64, device=piece.device)
            if gradient is not None:
                norms = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
                once = torch.tensor([[b.offsets[0], b.slot] for b in slots if not b.copy], device=part.device)
                experts, rows = once.view(-1, 2).long().unbind(1)
                part[experts] = norms[rows].double().square()
            parts.append(part)
        elif gradient is None or not gradient.numel():
            parts.append(torch.zeros(1, dtype=torch.float64, device=piece.device))
        else:
            parts.append(torch.linalg.vector_norm(gradient.float()).double().square().view(1))
    return torch.cat(parts) if parts else torch.zeros(1, dtype=torch.float64)


def reduce_norms(local: torch.Tensor, extra: torch.Tensor, mesh: Mesh) -> tuple[float, list[float]]:
    """Global gradient norm, and the sums of `extra` (float64 [n]) over all data ranks and pipeline stages.

    Sums run over EP first, where an expert has one term that is not zero, so its place among the ranks cannot matter;
    then over the other ranks in order.
    """
    layout = mesh.layout
    both = torch.cat([local, extra])
    if mesh.data_group is not None:
        rows = both.new_empty((layout.data_ranks, both.numel()))
        all_gather(rows, both, mesh.data_group)
        table = rows.view(layout.dp_replicate, layout.efsdp, layout.ep, -1)
        norms = table[mesh.replicate_rank, ..., : local.numel()].sum(1).sum(0)
        extra = table[..., local.numel() :].sum(2).sum(1).sum(0)
    else:
        norms = local
    totals = torch.cat([norms.sum().view(1), extra])
    if mesh.pp_group is not None:
        stages = totals.new_empty((layout.pp, totals.numel()))
        all_gather(stages, totals, mesh.pp_group)
        totals = stages.sum(0)
    squared, *sums = totals.tolist()
    return math.sqrt(squared) if squared >= 0 else math.nan, sums


def scale_gradients(pieces: Pieces, factor: float) -> None:
    """Multiplies every local gradient in place."""
    gradients = [local_of(p.grad) for p, _ in pieces.values() if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)


def bias_rate(spec: Moe, steps: int, step: int) -> float:
    """Rate of the routing bias at step 1 ... `steps`: "linear" falls to zero over the last fraction of them, "until"
    is zero there (DeepSeek-V3, arXiv 2412.19437, section 4.2: 0.001 for 14.3T of 14.8T tokens, then 0).

    >>> [bias_rate(Moe(1.0, bias_schedule="linear", bias_last_fraction=0.5), 4, step) for step in (1, 2, 3, 4)]
    [1.0, 1.0, 0.5, 0.0]
    """
    tail = spec.bias_last_fraction * steps
    left = {"constant": tail, "linear": steps - step, "until": tail * (step <= steps - tail)}[spec.bias_schedule]
    return spec.bias_rate * min(1.0, left / tail)


def balance_bias(gates: dict[int, Any], loads: dict[int, torch.Tensor], rate: float) -> None:
    """Auxiliary-free balancing (arXiv 2408.15664): bias += rate * sign(mean load - load), per learned router.

    `loads`: int64 [experts] of the whole step by layer. Layers without such a bias are left alone.
    """
    for layer, gate in gates.items():
        bias = getattr(gate, "e_score_correction_bias", None)
        if bias is not None and layer in loads:
            load = loads[layer].to(bias.device).double()
            bias.add_((load.mean() - load).sign().to(bias.dtype), alpha=rate)
