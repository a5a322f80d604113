"""Moving experts between ranks at a step boundary: weights and every optimizer moment, by all-to-all, bit by bit.

Slots are dimension 0 of a rank's tensors and FSDP shares an expert on dimension 1, so every EP group moves its own
slices by itself, and a slot travels as one row. Layers go one after another, tensors one after another, and a tensor in
column chunks, so the extra memory is at most twice `CHUNK_BYTES` whatever the model. A layer's table changes only when
all its tensors are in place. Training never sees the difference: sums are ordered by token and logical expert
(dispatch.py, optim.py), so the run goes on with the same bits as one that never moved.

A move may also run on while the next step begins (`overlap`): tables change at once, weights of a layer are waited for
before its experts' forward, moments before the update. At most `FLIGHT_BYTES` are on their way at a time.

A rank that dies during a move takes the run back to its last checkpoint, which knows experts by their logical numbers
and the tables of its step. A placement with copies is a table like any other: a copy gets weights and moments of its
expert, and is gone when its slot is given away.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine import parallel
from tessera_engine.agree import nothing, together
from tessera_engine.dispatch import Dispatcher
from tessera_engine.engine import Engine
from tessera_engine.errors import EngineError
from tessera_engine.spec import slots_of

CHUNK_BYTES = 64 << 20
FLIGHT_BYTES = 4 * CHUNK_BYTES
Placement = dict[str, list[int]]


@dataclass(frozen=True)
class Moved:
    """Bytes that this rank sent to others, slots that changed on it, layers it took part in, seconds."""

    bytes: int
    slots: int
    layers: list[int]
    seconds: float


def sources(old: list[int], new: list[int], ep: int) -> list[int]:
    """For every slot of the new table the old slot to copy from: a copy on the same rank, else the first one.

    >>> sources([0, 1, 2, 3], [1, 0, 2, 3], ep=2)
    [1, 0, 2, 3]
    """
    each = len(new) // ep
    first = {expert: slot for slot, expert in reversed(list(enumerate(old)))}
    near = {(slot // each, expert): slot for slot, expert in reversed(list(enumerate(old)))}
    keep = [slot if old[slot] == expert else None for slot, expert in enumerate(new)]
    return [
        kept if kept is not None else near.get((slot // each, expert), first[expert])
        for slot, (expert, kept) in enumerate(zip(new, keep, strict=True))
    ]


def check(engine: Engine, placement: Placement, group: dist.ProcessGroup) -> None:
    """Raises the same `EngineError` on all ranks unless every named layer exists and has a legal table."""

    def mine() -> set[str]:
        ways = engine.dispatchers()
        for layer, way in ways.items():
            if str(layer) in placement:
                slots_of(placement, layer, way.experts, len(way.slots), way.ep)
        return {str(layer) for layer in ways}

    known = set().union(*together(group, mine))
    unknown = sorted(placement.keys() - known)
    if unknown:
        raise EngineError("ENGINE_PLACEMENT", f"no expert layers {unknown}", layers=unknown)


def move(
    engine: Engine,
    placement: Placement,
    group: dist.ProcessGroup,
    ring: tuple[float, int] | None = None,
    overlap: bool = False,
) -> Moved:
    """Brings the layers named in `placement` (layer -> expert of every slot) into place. Collective over all ranks.

    With `ring` (share of a rank's rows, ranks to go on) rows travel round and the tables stay: see `rehearse`. With
    `overlap` it returns while rows are under way (not before the first forward, in which FSDP may exchange tensors);
    `Engine.settle` waits for them.
    """
    started, total = time.perf_counter(), 0
    engine.settle()
    check(engine, placement, group)
    flight = _Flight(engine) if overlap and engine.warm else None
    routes: dict[int, tuple[_Route, list[list[torch.Tensor]]]] = {}
    for layer, way, tensors in _layers(engine):
        wanted = placement.get(str(layer))
        if wanted is None or (wanted == way.slots and ring is None):
            continue
        route = _Route(way, turned(len(wanted), way.ep, *ring) if ring else sources(way.slots, wanted, way.ep))
        routes[layer] = route, tensors
    with torch.no_grad():
        # All weights first: they are needed first.
        for moments in (False, True):
            for layer, (route, tensors) in routes.items():
                for tensor in [t for kinds in tensors for t in (kinds[1:] if moments else kinds[:1])]:
                    total += route.carry(tensor, flight, None if moments else layer)
    for layer, way in engine.dispatchers().items():
        if layer in routes:
            way.place(placement[str(layer)])
    layers, changed = list(routes), sum(len(route.into) for route, _ in routes.values())
    # What the next step would rebuild, and what still travels on an accelerator, belong to the price.
    engine.pieces()
    if flight is None and engine.mesh.device.type != "cpu":
        torch.accelerator.synchronize()
    # Whoever says that the move is done says it for all.
    together(group, nothing)
    return Moved(total, changed, layers, time.perf_counter() - started)


def turned(slots: int, ep: int, share: float, ranks: int) -> list[int]:
    """Old slot of every slot when the first rows of each rank, at least one, go on by so many ranks.

    >>> turned(4, ep=2, share=0.0, ranks=1)
    [2, 1, 0, 3]
    """
    each = slots // ep
    rows = max(1, int(each * share))
    return [(slot - ranks * each) % slots if slot % each < rows else slot for slot in range(slots)]


def rehearse(engine: Engine, group: dist.ProcessGroup) -> list[Moved]:
    """What moves cost here: rows go to the next rank and come back on the way of real moves, and no bit has changed.

    One row of one layer, one row of up to four layers, half the rows of one layer, twice each. Collective.
    """
    ways, told = engine.dispatchers(), []
    # The very first only warms the way.
    for layers, share in [(1, 0.0), *[(1, 0.0), (4, 0.0), (1, 0.5)] * 2]:
        stay = {str(layer): ways[layer].slots for layer in sorted(ways)[:layers]}
        told += [move(engine, stay, group, ring=(share, ranks)) for ranks in (1, -1)]
    return told[2:]


def _layers(engine: Engine) -> list[tuple[int, Dispatcher, list[list[torch.Tensor]]]]:
    """(layer, dispatcher, its expert tensors [slots, ...]: for each parameter itself and its moments), by layer."""
    pieces = engine.pieces()
    names = {id(parameter): name for name, (parameter, _) in pieces.items()}
    found = []
    for stage in engine.stages:
        for layer, module in parallel.experts_of(stage).items():
            tensors: list[list[torch.Tensor]] = []
            for parameter in module.parameters(recurse=False):
                name = names[id(parameter)]
                moments = [kind[name] for kind in engine.optimizer.moments.values() if name in kind]
                tensors.append([pieces[name][1].local, *moments])
            way: Any = module.tessera
            found.append((layer, way, tensors))
    return sorted(found, key=lambda entry: entry[0])


class _Flight:
    """Exchanges under way, oldest first: weights land before their layer's forward, the rest in `Engine.settle`."""

    def __init__(self, engine: Engine) -> None:
        self.legs: deque[tuple[int | None, Any, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = deque()
        self.trace = engine.trace
        # A group of their own: in the one of the forward they would stand in its way.
        if engine.moving is None and (group := engine.mesh.ep_group) is not None:
            ranks = dist.get_process_group_ranks(group)
            engine.moving = dist.new_group(ranks, use_local_synchronization=True)
        self.group = engine.moving
        self.hooks = [
            module.register_forward_pre_hook(lambda *_, layer=layer: self.land(layer), prepend=True)
            for layer, module in engine.experts().items()
        ]
        engine.landing.append(self.settle)

    def add(self, layer: int | None, work: Any, rows: torch.Tensor, into: torch.Tensor, *buffers: torch.Tensor) -> None:
        arriving, outgoing = buffers
        self.legs.append((layer, work, rows, into, arriving, outgoing))
        while sum(leg[4].nbytes + leg[5].nbytes for leg in self.legs) > FLIGHT_BYTES:
            self._first()

    def land(self, layer: int) -> None:
        """Puts the weights of `layer` in place, and whatever set out before them."""
        with self.trace.span("landing"):
            while any(leg[0] == layer for leg in self.legs):
                self._first()

    def settle(self) -> None:
        """Puts everything in place."""
        with self.trace.span("landing"):
            while self.legs:
                self._first()
        for hook in self.hooks:
            hook.remove()

    def _first(self) -> None:
        _, work, rows, into, arriving, _ = self.legs.popleft()
        work.wait()
        with torch.no_grad():
            rows.index_copy_(0, into, arriving)


class _Route:
    """Which rows this rank sends where and receives from whom, in the order of the receiver's slots."""

    def __init__(self, way: Dispatcher, source: list[int]) -> None:
        each, me = len(source) // way.ep, way.ep_rank
        moves = [(old, new) for new, old in enumerate(source) if old != new]
        out = sorted((new // each, new, old) for old, new in moves if old // each == me)
        self.take = [old % each for _, _, old in out]
        self.sends = [sum(rank == r for rank, _, _ in out) for r in range(way.ep)]
        into = sorted((old // each, new) for old, new in moves if new // each == me)
        self.into = [new % each for _, new in into]
        self.receives = [sum(rank == r for rank, _ in into) for r in range(way.ep)]
        # Every rank of the group must walk the same chunks, so the busiest one sets their width for all.
        ends = Counter([(old // each, "out") for old, _ in moves] + [(new // each, "in") for _, new in moves])
        self.most = max(ends.values(), default=1)
        self.group, self.me = way.group, me

    def carry(self, tensor: torch.Tensor, flight: _Flight | None, layer: int | None) -> int:
        """Moves the rows of one tensor in place, or sends them on their way; returns the bytes that left this rank."""
        rows = tensor.view(tensor.shape[0], -1)
        width = max(1, CHUNK_BYTES // (self.most * tensor.element_size()))
        take, into = (torch.tensor(i, dtype=torch.int64, device=tensor.device) for i in (self.take, self.into))
        for start in range(0, rows.shape[1], width):
            chunk = rows[:, start : start + width]
            outgoing = chunk.index_select(0, take)
            arriving = outgoing
            if self.group is not None:
                arriving = outgoing.new_empty((len(self.into), outgoing.shape[1]))
                group = self.group if flight is None else flight.group
                sizes = self.receives, self.sends
                work = dist.all_to_all_single(arriving, outgoing, *sizes, group=group, async_op=flight is not None)
                if flight is not None:
                    flight.add(layer, work, chunk, into, arriving, outgoing)
                    continue
            chunk.index_copy_(0, into, arriving)
        away = len(self.take) - self.sends[self.me]
        return away * rows.shape[1] * tensor.element_size()
