"""Expert dispatch against slow obvious twins, and its edge cases in real worlds."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
import torch.distributed as dist
import worlds
from tiny import config, spec
from torch import nn

from tessera_engine import dispatch
from tessera_engine.dispatch import Dispatcher, GroupedLinear
from tessera_engine.engine import Engine
from tessera_engine.mesh import build_mesh
from tessera_engine.spec import Layout
from tessera_engine.trace import Trace

EXPERTS, HIDDEN = 8, 64


def layer() -> Any:
    """V4 experts with drawn weights."""
    from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4Experts

    torch.manual_seed(0)
    module = DeepseekV4Experts(config("v4"))
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    return module


def inputs(rank: int, tokens: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(rank)
    x = torch.randn(tokens, HIDDEN, generator=draw).requires_grad_()
    return x, torch.randint(0, EXPERTS, (tokens, 2), generator=draw), torch.rand(tokens, 2, generator=draw)


def position_independence(dtype: torch.dtype) -> bool:
    counts = torch.tensor([5, 0, 17, 33, 1, 64, 0, 8])
    weight, x = torch.randn(8, 48, 64).to(dtype), torch.randn(128, 64).to(dtype)
    grad = torch.randn(128, 48).to(dtype)

    def run(order: torch.Tensor) -> list[torch.Tensor]:
        pick = torch.cat([x.split(counts.tolist())[i] for i in order]).requires_grad_()
        w = weight[order].clone().requires_grad_()
        out = GroupedLinear.apply(pick, w, counts[order].tolist(), Trace())
        out.backward(torch.cat([grad.split(counts.tolist())[i] for i in order]))
        back = torch.argsort(order)
        rows = [torch.cat([t.split(counts[order].tolist())[i] for i in back]) for t in (out.detach(), pick.grad)]
        return [*rows, w.grad[back]]

    plain = run(torch.arange(8))
    parts = x.split(counts.tolist())
    twin = torch.cat([part @ w.T for part, w in zip(parts, weight, strict=True)])
    close = torch.allclose(plain[0].float(), twin.float(), atol=1e-4 if dtype == torch.float32 else 0.3)
    zero = not plain[2][1].any() and not plain[2][6].any()
    moved = [run(torch.randperm(8)) for _ in range(20)]
    return close and zero and all(torch.equal(a, b) for other in moved for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_slots_bits_do_not_depend_on_its_place(dtype: torch.dtype) -> None:
    assert worlds.run(1, position_independence, dtype) == [True]


def exchange(case: str, table: list[int], ep: int) -> dict[str, float]:
    """Largest differences from the class's own loop over experts, of output and gradients, on this rank."""
    mesh = build_mesh(Layout(dp_shard=ep, ep=ep))
    twin, mine = layer(), layer()
    trace = Trace(counting=True)
    mine.tessera = Dispatcher(EXPERTS, table, ep, mesh.ep_rank, mesh.ep_group, trace)
    for name, parameter in list(mine.named_parameters()):
        mine.register_parameter(name, nn.Parameter(parameter.detach()[mine.tessera.mine].clone()))
    gathered = [inputs(rank) for rank in range(ep)]
    for x, index, _ in gathered:
        if case == "one expert takes all":
            index.fill_(5)
        if case == "zero tokens on a rank":
            index.copy_(index % (EXPERTS // 2))
        if case == "same expert twice":
            index[:, 1] = index[:, 0]
        x.retain_grad()
    x, index, weights = gathered[mesh.rank]
    out = dispatch.forward(mine, x, index, weights)
    torch.manual_seed(mesh.rank)
    cotangent = torch.randn_like(out)
    out.backward(cotangent)
    assert x.grad is not None
    gradient, x.grad = x.grad, None
    wanted: Any = None
    for rank in range(ep):
        other, index, weights = gathered[rank]
        torch.manual_seed(rank)
        whole = twin.__class__.forward.__wrapped__(twin, other, index, weights)
        whole.backward(torch.randn_like(whole))
        wanted = whole if rank == mesh.rank else wanted
    found = {"output": float((out - wanted).abs().max()), "x": float((gradient - x.grad).abs().max())}
    for name, parameter in mine.named_parameters():
        if len(set(table)) == len(table):
            reference = dict(twin.named_parameters())[name].grad[mine.tessera.mine]
            found[name] = float((parameter.grad - reference).abs().max())
    loads = mine.tessera.loads.clone()
    if ep > 1:
        dist.all_reduce(loads)
    assert int(loads.sum()) == ep * 24 * 2
    return found


CASES = ["plain", "one expert takes all", "zero tokens on a rank", "same expert twice"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("ep", "table"), [(1, [*range(8)]), (2, [3, 1, 7, 5, 0, 2, 6, 4]), (2, [*range(8), 0, 5])])
def test_dispatch_equals_the_class(case: str, ep: int, table: list[int]) -> None:
    for found in worlds.run(ep, exchange, case, table if len(table) == 8 else [0, 1, 2, 3, 5, 4, 5, 6, 7, 0], ep):
        assert max(found.values()) < 2e-5, found


def test_loads_ignore_recomputation_and_shape_inference() -> None:
    trace = Trace()
    way = Dispatcher(4, [0, 1, 2, 3], 1, 0, None, trace)
    experts = torch.tensor([0, 1, 1, 3])
    way.count(experts)
    assert not way.loads.any()
    trace.counting = True
    way.count(experts)
    first, again = trace.recompute_contexts()
    with again:
        way.count(experts)
    with first:
        way.count(experts)
    assert way.loads.tolist() == [2, 4, 0, 2]


def test_links_are_told_apart_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert Dispatcher(8, [*range(8)], 4, 1, None, Trace()).links == [1, 0, 2, 2]
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert Dispatcher(8, [*range(8)], 4, 1, None, Trace()).links == [1, 0, 1, 1]


def by_link(every: int, per_node: str) -> tuple[list[tuple[float, float]], dict[str, bytes], Any]:
    """Two steps of EP4, every one of them or none timed by link: losses and norms, the state, the last result."""
    os.environ["LOCAL_WORLD_SIZE"] = per_node
    task = spec(ep=4, shard=4, telemetry={"linksEvery": every}, layout={"recompute": "full"})
    engine = Engine.build(task, config=config("v3"))
    results = [engine.train_step(*worlds.rows(engine, step)) for step in range(2)]
    state = {name: piece.local.contiguous().numpy().tobytes() for name, piece in engine.state_dict().items()}
    last = results[-1]
    return [(r.loss, r.grad_norm) for r in results], state, (last.spans, last.sent_pairs, last.link_bytes)


def test_timing_links_one_by_one_changes_no_bit_and_counts_every_byte() -> None:
    off = worlds.run(4, by_link, 0, "2")
    for per_node, links in [("4", [0, 1]), ("3", [0, 1, 2])]:
        on = worlds.run(4, by_link, 1, per_node)
        for (losses, state, (_, _, none)), (same, other, (spans, _, _)) in zip(off, on, strict=True):
            assert losses == same
            assert len(state) > 20
            assert state == other
            assert none == [0, 0, 0]
            timed = {name: s for name, s in spans.items() if name.startswith("allToAll.")}
            assert timed.keys() == {f"allToAll.{dispatch.LINKS[link]}" for link in links}
            assert 0 < sum(timed.values()) < spans["allToAll"]
        # There and back, forward, backward, and again for recomputation, a row of 64 numbers of four bytes each time.
        pairs, sent = ([sum(told[i][link] for *_, told in on) for link in range(3)] for i in (1, 2))
        assert sent == [6 * 256 * n for n in pairs]
        assert all(pairs[link] > 0 for link in links)
    assert not any(name.startswith("allToAll.") for *_, (spans, _, _) in off for name in spans)
