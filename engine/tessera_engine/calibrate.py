"""`calibrate`: times what it is told to on this rank's device, with the engine's own code where the engine has its own.

What to measure, how often and what follows from it is the controller's. One JSON line a request on stdin, one answer
on stdout; with RANK in the environment all ranks are told the same requests, and collectives run between them.

stdin:  {"id", "op", "inner", "samples", ...shape}
stdout: {"kind": "ready", ...} {"kind": "samples", "id", "wall": [s], "busy": [s]} {"kind": "error", "id", "code"}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from tessera_engine.dispatch import grouped_linear
from tessera_engine.engine import Engine
from tessera_engine.memory import free_memory
from tessera_engine.mesh import all_gather, build_mesh, device_here
from tessera_engine.parallel import OrderedReduceScatter, ordered_all_reduce
from tessera_engine.process import die_with_parent, emit
from tessera_engine.spec import Layout, Spec, read_config
from tessera_engine.trace import Trace
from tessera_engine.worker import failure_of

Run = Callable[[], Any]
Point = dict[str, Any]


def kernel(p: Point, device: torch.device) -> Run:
    """One kernel on fresh random data; shapes as the controller names them."""
    dtype = getattr(torch, p.get("dtype", "float32"))

    def new(*shape: int, grad: bool = False) -> torch.Tensor:
        return torch.randn(*shape, device=device, dtype=dtype, requires_grad=grad)

    if p["op"] == "gemm":
        a, b = new(p["m"], p["k"]), new(p["n"], p["k"])
        return lambda: F.linear(a, b)
    if p["op"] == "grouped":
        x, w = new(p["groups"] * p["m"], p["k"]), new(p["groups"], p["n"], p["k"])
        listed = [p["m"]] * p["groups"]
        counts, trace = torch.tensor(listed, device=device), Trace()
        return lambda: grouped_linear(x, w, counts, listed, trace)
    if p["op"] in ("attention", "attentionBackward"):
        back = p["op"] == "attentionBackward"
        q, k, v = (new(p["rows"], p["heads"], p["sequence"], p["dim"], grad=back) for _ in range(3))
        if not back:
            return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return lambda: torch.autograd.grad(out, (q, k, v), torch.ones_like(out), retain_graph=True)
    if p["op"] == "copy":
        # A host buffer that the device can read by itself, where there is such a device.
        host = torch.empty(p["elements"], dtype=dtype, pin_memory=device.type != "cpu")
        there = torch.empty(p["elements"], dtype=dtype, device=device)
        return (lambda: there.copy_(host)) if p["to"] == "device" else (lambda: host.copy_(there))
    width = p.get("width", 1)
    x, y, weight = new(p["elements"] // width, width), new(p["elements"] // width, width), new(width)
    return {
        "norm": lambda: F.rms_norm(x, (width,), weight),
        "activation": lambda: F.silu(x) * y,
        "add": lambda: torch.add(x, y),
        "launch": lambda: x.add_(1.0),
    }[p["op"]]


@lru_cache
def group_of(size: int, stride: int) -> dist.ProcessGroup:
    """This rank's group of `size` ranks, `stride` apart. Collective."""
    if size == dist.get_world_size():
        return dist.group.WORLD
    tables = torch.arange(dist.get_world_size()).view(-1, size, stride).transpose(1, 2).reshape(-1, size)
    return dist.new_subgroups_by_enumeration(tables.tolist())[0]


def collective(p: Point, device: torch.device) -> Run:
    """One collective of `elements` float32 (whole tensor; allToAll and message: what a rank sends)."""
    group, n, count = group_of(p["size"], p["stride"]), p["size"], p["elements"]
    whole, part = torch.ones(count, device=device), torch.ones(count // n, device=device)
    other = torch.empty_like(whole)
    ways: dict[str, Run] = {
        "allGather": lambda: all_gather(whole, part, group),
        "reduceScatter": lambda: OrderedReduceScatter()(part, whole, group, None),
        "allReduce": lambda: ordered_all_reduce(group)(whole),
        "allToAll": lambda: dist.all_to_all_single(other, whole, group=group),
        "broadcast": lambda: dist.broadcast(whole, group=group, group_src=0),
    }
    if p["op"] in ways:
        return ways[p["op"]]
    # There and back between the ends of the group, which is two messages.
    ends = [dist.get_global_rank(group, i) for i in (0, n - 1)]
    if dist.get_rank() not in ends:
        return lambda: None
    here = ends.index(dist.get_rank())
    steps = [dist.send, dist.recv] if here == 0 else [dist.recv, dist.send]
    return lambda: [step(whole, ends[1 - here], group) for step in steps]


@lru_cache(maxsize=2)
def engine_of(text: str, folder: str) -> Engine:
    """An engine for a worker spec, of this rank alone or of all ranks that meet."""
    return Engine.build(Spec.of(json.loads(text)), config=read_config(folder))


def engine_step(p: Point, _device: torch.device) -> Run:
    """Forward and backward of a step (part "passes"), or what follows them: norm, update, loads (part "update")."""
    spec = {**p["spec"], "model": {"config": p["config"]}}
    engine = engine_of(json.dumps(spec), p["config"])
    batch = engine.spec.batch
    rows = batch.global_batch // engine.spec.layout.data_ranks
    ids = torch.randint(0, engine.family.config.vocab_size, (rows, batch.sequence_length))
    engine.backward(ids, ids)
    pieces = engine.pieces()

    def passes() -> None:
        engine.backward(ids, ids)
        engine._forget()

    @torch.no_grad()
    def update() -> None:
        engine.reduce(pieces)
        engine.optimizer.step(pieces, 0.0)  # rate 0: the weights stay, the work is the same
        engine._loads()

    return passes if p["part"] == "passes" else update


def measure(p: Point, device: torch.device) -> dict[str, Any]:
    """`samples` times `inner` calls: seconds of one call by the clock, and of this process's processors."""
    make = engine_step if p["op"] == "engine" else collective if "size" in p else kernel
    run, wall, busy = make(p, device), [], []
    settle = torch.accelerator.synchronize if device.type != "cpu" else lambda: None
    for _ in range(p["samples"]):
        if "size" in p:
            dist.barrier()
        settle()
        clock, work = time.perf_counter(), time.process_time()
        for _ in range(p["inner"]):
            run()
        settle()
        wall.append((time.perf_counter() - clock) / p["inner"])
        busy.append((time.process_time() - work) / p["inner"])
    return {"kind": "samples", "id": p["id"], "wall": wall, "busy": busy}


def main(_arguments: list[str]) -> int:
    """Serves requests until stdin closes; a request that fails is answered and the next one served."""
    die_with_parent(os.getppid())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = device_here()
    if "RANK" in os.environ:
        build_mesh(Layout(dp_shard=int(os.environ["WORLD_SIZE"])), device, timeout_seconds=60.0)
    name = torch.get_device_module(device.type).get_device_properties(device).name if device.type != "cpu" else "cpu"
    count = torch.accelerator.device_count() if device.type != "cpu" else 1
    about = {"torch": torch.__version__, "type": device.type, "name": name, "count": count}
    emit({"kind": "ready", **about, **free_memory(device)})
    for line in sys.stdin:
        point = json.loads(line)
        try:
            emit(measure(point, device))
        except Exception as error:
            emit({"kind": "error", "id": point["id"], **failure_of(error)[0]})
    sys.stdout.flush()
    os._exit(0)
