"""Expert dispatch: tokens travel to their experts by all-to-all, are computed in grouped GEMMs, and return.

Registered as an experts implementation of transformers, so any of its MoE classes takes it. What goes where is decided
by a table slot -> logical expert; the router knows only logical experts.

Every sum has an order that no placement can change, so moving an expert changes no bit: inside an expert the rows come
by source rank, then token, then k; results return to (token, k) order before they are summed over k; gradients take
the same way back. Backward gathers instead of scattering, so there are no atomics.

An expert with copies is the one exception: its rows, and so its gradient's terms, are grouped by copy (copies.py adds
the groups up), which equals one copy to rounding and not to the bit. A rank that holds a copy keeps its own pairs; the
others of its node keep theirs on the node, if every node with copies has equally many; all others deal theirs evenly
over all copies. So no pair travels without need, and with ranks that send alike every copy gets the same share, which
is what the planner counts on.

(token, k) pairs are sent, never unique tokens: hash routing may name one expert twice for a token.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from tessera_engine.trace import Trace

NAME = "tessera"
# Where rows go: they stay on their rank, inside the node, over the network.
LINKS = ("rank", "node", "network")


class Gather(torch.autograd.Function):
    """`x[rows]` whose backward gathers too: `inverse` [n, c] names the c output rows of each of the n input rows."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """x [n, h], rows [m] -> [m, h]."""
        ctx.save_for_backward(inverse)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Sums the c gradients of a row in the order in which `inverse` names them."""
        (inverse,) = ctx.saved_tensors
        n, c = inverse.shape
        back = grad.index_select(0, inverse.reshape(-1))
        return (back if c == 1 else back.view(n, c, -1).sum(1)), None, None


class Exchange(torch.autograd.Function):
    """All-to-all of rows with uneven splits; backward is the same exchange the other way."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, sends: list[int], receives: list[int], way: Dispatcher) -> torch.Tensor:
        """x [sum(sends), h] -> [sum(receives), h]."""
        ctx.back = (receives, sends, way)
        return exchange(x, sends, receives, way)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Gradients travel back to where the rows came from."""
        return exchange(grad, *ctx.back), None, None, None


def exchange(x: torch.Tensor, sends: list[int], receives: list[int], way: Dispatcher) -> torch.Tensor:
    """One all-to-all of rows, its seconds in span "allToAll"."""
    x, out = x.contiguous(), x.new_empty((sum(receives), *x.shape[1:]))
    with way.trace.span("allToAll"):
        if way.trace.by_link:
            _by_link(x, out, sends, receives, way)
        else:
            dist.all_to_all_single(out, x, receives, sends, group=way.group)
    return out


def _by_link(x: torch.Tensor, out: torch.Tensor, sends: list[int], receives: list[int], way: Dispatcher) -> None:
    """The same exchange one link class after another, each timed from when all ranks of the group are there."""
    parts, places = x.split(sends), out.split(receives)
    for link in way.classes:
        there = [r for r, other in enumerate(way.links) if other == link]
        outgoing = torch.cat([x[:0], *(parts[r] for r in there)])
        arriving = torch.cat([x[:0], *(places[r] for r in there)])
        sizes = [[n if r in there else 0 for r, n in enumerate(rows)] for rows in (receives, sends)]
        dist.barrier(way.group)
        with way.trace.span(f"allToAll.{LINKS[link]}"):
            if link:
                dist.all_to_all_single(arriving, outgoing, *sizes, group=way.group)
            else:
                arriving.copy_(outgoing)
            if x.device.type != "cpu":
                torch.accelerator.synchronize(x.device)
        way.trace.link_bytes[link] += outgoing.nbytes
        for r, rows in zip(there, arriving.split([receives[r] for r in there]), strict=True):
            places[r].copy_(rows)


class GroupedLinear(torch.autograd.Function):
    """Rows [m, in], sorted by slot with `counts` rows each, times weights [slots, out, in] -> [m, out].

    One plain GEMM per slot: a slot's result and gradient depend on its own rows only, not on where it sits. On CPU this
    is faster than `grouped_mm` and needs no alignment.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, counts: Sequence[int], trace: Trace) -> torch.Tensor:
        """See the class."""
        ctx.save_for_backward(x, weight)
        ctx.counts, ctx.trace = counts, trace
        out, at = x.new_empty((x.shape[0], weight.shape[1])), 0
        for slot, n in enumerate(counts):
            if n:
                torch.mm(x[at : at + n], weight[slot].t(), out=out[at : at + n])
                at += n
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        """Gradients of rows and weights; a slot without rows gets zeros."""
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        rows, weights, at = torch.empty_like(x), torch.empty_like(weight), 0
        with ctx.trace.span("experts"):
            for slot, n in enumerate(ctx.counts):
                if n:
                    torch.mm(grad[at : at + n], weight[slot], out=rows[at : at + n])
                    torch.mm(grad[at : at + n].t(), x[at : at + n], out=weights[slot])
                    at += n
                else:
                    weights[slot].zero_()
        return rows, weights, None, None


def grouped_linear(
    x: torch.Tensor, weight: torch.Tensor, counts: torch.Tensor, listed: list[int], trace: Trace
) -> torch.Tensor:
    """Chooses the kernel: one GEMM a slot on CPU and in fp32, the device's grouped GEMM otherwise."""
    if x.device.type == "cpu" or x.dtype == torch.float32 or not hasattr(F, "grouped_mm"):
        return GroupedLinear.apply(x, weight, listed, trace)
    return F.grouped_mm(x, weight.transpose(-2, -1), offs=counts.cumsum(0).int())


class Dispatcher:
    """Placement, group and counters of one layer's experts. Attached to the experts module as `tessera`.

    `slots`: expert of every slot over all EP ranks, rank r holding slots [r*n, (r+1)*n). `copies`: slots of each expert
    that has several. `loads`: int64 [experts], (token, k) pairs that this rank's router sent to each logical expert
    since the last `clear`.
    """

    def __init__(
        self, experts: int, slots: list[int], ep: int, ep_rank: int, group: dist.ProcessGroup | None, trace: Trace
    ) -> None:
        self.experts, self.ep, self.ep_rank, self.group, self.trace = experts, ep, ep_rank, group, trace
        self.loads = torch.zeros(experts, dtype=torch.int64)
        per_node = int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or sys.maxsize
        ranks = dist.get_process_group_ranks(group) if group else range(ep)
        self.node_of = [rank // per_node for rank in ranks]
        # Link class (of `LINKS`) to each rank of the group.
        self.links = [0 if r == ep_rank else 1 + (n != self.node_of[ep_rank]) for r, n in enumerate(self.node_of)]
        # Those classes that rows of any rank take: all ranks of the group need the same ones.
        nodes = set(self.node_of)
        self.classes = [0] + [1] * (len(nodes) < ep) + [2] * (len(nodes) > 1)
        self.version = 0
        self.place(slots)

    def place(self, slots: list[int]) -> None:
        """Adopts a slot table (already checked). Weights are moved by whoever changes it; `version` counts up."""
        self.slots, self.version = list(slots), self.version + 1
        each = len(slots) // self.ep
        self.mine = self.slots[self.ep_rank * each : (self.ep_rank + 1) * each]
        homes: list[list[int]] = [[] for _ in range(self.experts)]
        for slot, expert in enumerate(slots):
            homes[expert].append(slot)
        self.copies = {expert: home for expert, home in enumerate(homes) if len(home) > 1}
        # Where this rank's pairs may go: its own copy, if it has one, or those on its node.
        ways = [[slot for slot in home if slot // each == self.ep_rank] or self._near(home, each) for home in homes]
        most = max(len(way) for way in ways)
        self._ways = torch.tensor([len(way) for way in ways])
        self._table = torch.tensor([way + way[:1] * (most - len(way)) for way in ways])

    def _near(self, home: list[int], each: int) -> list[int]:
        """The slots of `home` on this rank's node, where that keeps the shares of all copies equal; else `home`."""
        nodes = [self.node_of[slot // each] for slot in home]
        here = [slot for slot, node in zip(home, nodes, strict=True) if node == self.node_of[self.ep_rank]]
        return here if here and len({nodes.count(node) for node in nodes}) == 1 else home

    def slot_of(self, experts: torch.Tensor) -> torch.Tensor:
        """Slot for each (token, k) pair; the pairs of an expert take its copies in turn, each rank starting elsewhere.

        The turn counts an expert's own pairs: the number of a pair would give a first choice to even slots only.
        """
        if self._table.device != experts.device:
            self._table, self._ways = self._table.to(experts.device), self._ways.to(experts.device)
        if self._table.shape[1] == 1:
            return self._table[:, 0][experts]
        order = torch.argsort(experts, stable=True)
        counts = torch.bincount(experts, minlength=self.experts)
        turn = torch.empty_like(order)
        turn[order] = torch.arange(order.numel(), device=order.device) - (counts.cumsum(0) - counts)[experts[order]]
        return self._table[experts, (turn + self.ep_rank) % self._ways[experts]]

    def count(self, experts: torch.Tensor) -> None:
        """Adds a routing decision [pairs] to the loads, unless this forward does not count."""
        if self.trace.live:
            self.trace.routed += experts.numel()
            self.loads += torch.bincount(experts, minlength=self.experts).to(self.loads.device)

    def clear(self) -> None:
        """Forgets the loads."""
        self.loads.zero_()


def forward(module: nn.Module, x: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Experts of transformers' interface: x [n, h], index and weights [n, k] -> [n, h]."""
    way: Dispatcher = module.tessera
    n, k = index.shape
    with torch.no_grad():
        experts = index.reshape(-1)
        way.count(experts)
        slots = way.slot_of(experts)
        order = torch.argsort(slots, stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel(), device=order.device)
        counts = torch.bincount(slots, minlength=len(way.slots))
    rows: torch.Tensor = Gather.apply(x, order.div(k, rounding_mode="floor"), back.view(n, k))
    alone = way.group is None
    rows = compute(module, rows, counts, counts.tolist()) if alone else _remote(module, way, rows, counts)
    rows = Gather.apply(rows, back, order.view(-1, 1))
    return (rows.view(n, k, -1) * weights.unsqueeze(-1)).sum(1).to(x.dtype)


def _remote(module: nn.Module, way: Dispatcher, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Sends `rows` (sorted by slot) to the ranks of their slots, computes there, and brings the results back."""
    assert way.group is not None
    with torch.no_grad():
        arriving = torch.empty_like(counts)  # [source rank, slot of mine]
        with way.trace.span("allToAll"):
            dist.all_to_all_single(arriving, counts, group=way.group)
        both = torch.stack([counts.view(way.ep, -1).sum(1), arriving.view(way.ep, -1).sum(1)]).tolist()
        sends, receives = both[0], both[1]
        if way.trace.live:
            for link, rows_there in zip(way.links, sends, strict=True):
                way.trace.sent[link] += rows_there
        table = arriving.view(way.ep, -1)
        slot_of_row = torch.arange(table.shape[1], device=rows.device).repeat(way.ep)
        order = torch.argsort(torch.repeat_interleave(slot_of_row, arriving), stable=True)
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel(), device=order.device)
        local = table.sum(0)
    rows = Exchange.apply(rows, sends, receives, way)
    rows = Gather.apply(rows, order, back.view(-1, 1))
    rows = compute(module, rows, local, local.tolist())
    rows = Gather.apply(rows, back, order.view(-1, 1))
    return Exchange.apply(rows, receives, sends, way)


def compute(module: nn.Module, rows: torch.Tensor, counts: torch.Tensor, listed: list[int]) -> torch.Tensor:
    """The experts' own computation on rows sorted by slot; `counts` [slots] rows each. Seconds in span "experts"."""
    trace: Trace = module.tessera.trace
    if trace.live:
        trace.computed += rows.shape[0]
    with trace.span("experts"):
        first = module.gate_up_proj if module.has_gate else module.up_proj
        hidden = _linear(module, rows, first, counts, listed, "gate_up_proj" if module.has_gate else "up_proj")
        hidden = module._apply_gate(hidden) if module.has_gate else module.act_fn(hidden)
        return _linear(module, hidden, module.down_proj, counts, listed, "down_proj")


def _linear(
    module: nn.Module, x: torch.Tensor, weight: torch.Tensor, counts: torch.Tensor, listed: list[int], name: str
) -> torch.Tensor:
    if module.is_transposed:
        weight = weight.transpose(1, 2)
    out = grouped_linear(x.to(weight.dtype), weight, counts, listed, module.tessera.trace)
    if not module.has_bias:
        return out
    bias: torch.Tensor = getattr(module, f"{name}_bias")
    return out + torch.cat([bias[i : i + 1].expand(n, -1) for i, n in enumerate(listed)])


def register() -> None:
    """Makes this implementation known to transformers under `NAME`."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    if NAME not in ALL_EXPERTS_FUNCTIONS:
        ALL_EXPERTS_FUNCTIONS.register(NAME, forward)
