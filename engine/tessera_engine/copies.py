"""Gradients of an expert's copies, added up so that all copies go on with the same bits.

Each copy has the gradient of the tokens it got. An expert with m copies is cut into m parts; copy j receives part j of
all copies, adds them in the order of the slots, and sends the sum back: every copy sends 2 (m - 1) / m of an expert,
nothing else travels, and every element is added in the same order wherever it is read. It runs after FSDP's reductions,
so each EP group does it for its own slices. Equal gradients and equal moments keep copies equal: nothing is ever
copied back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine.dispatch import Dispatcher
from tessera_engine.parallel import add_in_order, local_of


def add_up(experts: Iterable[Any]) -> None:
    """Sums the gradients of all copies in the experts modules of this rank. Collective over each EP group."""
    for module in experts:
        way: Dispatcher = module.tessera
        gradients = [local_of(p.grad) for p in module.parameters(recurse=False) if p.grad is not None]
        if way.copies and gradients:
            _add_layer(way, [g.view(g.shape[0], -1) for g in gradients])


def _add_layer(way: Dispatcher, gradients: list[torch.Tensor]) -> None:
    """gradients: one [slots of mine, n] a parameter, summed in place."""
    each, me = len(way.mine), way.ep_rank
    # By expert: its row here, and the ranks of its copies, which is also the order of their slots.
    shared = [(way.mine.index(e), [s // each for s in way.copies[e]]) for e in sorted({*way.mine} & {*way.copies})]
    rows = torch.tensor([row for row, _ in shared], dtype=torch.int64, device=gradients[0].device)
    whole = torch.cat([g.index_select(0, rows) for g in gradients], 1)
    width = whole.shape[1]

    def part(i: int, rank: int) -> torch.Tensor:
        ranks = shared[i][1]
        j = ranks.index(rank)
        return whole[i, width * j // len(ranks) : width * (j + 1) // len(ranks)]

    met = [(rank, i) for rank in range(way.ep) if rank != me for i, (_, ranks) in enumerate(shared) if rank in ranks]
    theirs, mine = [part(i, rank) for rank, i in met], [part(i, me) for _, i in met]
    arrived = _trade(way, met, theirs, mine, whole)
    for i, (_, ranks) in enumerate(shared):
        terms = {rank: term for (rank, other), term in zip(met, arrived, strict=True) if other == i}
        terms[me] = part(i, me).clone()
        add_in_order(part(i, me), [terms[rank] for rank in ranks])
    for target, total in zip(theirs, _trade(way, met, mine, theirs, whole), strict=True):
        target.copy_(total)
    for gradient, columns in zip(gradients, whole.split([g.shape[1] for g in gradients], 1), strict=True):
        gradient.index_copy_(0, rows, columns)


def _trade(
    way: Dispatcher, met: list[tuple[int, int]], out: list[torch.Tensor], back: list[torch.Tensor], like: torch.Tensor
) -> list[torch.Tensor]:
    """Sends `out` to the ranks of `met`, entry by entry; what they send is as large as `back`."""

    def sizes(parts: list[torch.Tensor]) -> list[int]:
        return [sum(p.numel() for (to, _), p in zip(met, parts, strict=True) if to == r) for r in range(way.ep)]

    outgoing = torch.cat([like.new_empty(0), *out])
    arriving = like.new_empty(sum(p.numel() for p in back))
    dist.all_to_all_single(arriving, outgoing, sizes(back), sizes(out), group=way.group)
    return list(arriving.split([p.numel() for p in back])) if back else []
