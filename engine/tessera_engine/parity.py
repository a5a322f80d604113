"""Start-up self-check: are the gradients of the chosen layout those of one process?

Schedules, sharding and dispatch can lose gradients in silence, so before a run trains, every rank computes a few rows
twice with the same drawn weights: through the layout, and alone. Both in float32. A model of more than `LARGEST`
parameters is replaced by a small one of the same class with the same kinds of layers.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine import parallel
from tessera_engine.engine import Engine
from tessera_engine.mesh import Mesh, alone
from tessera_engine.spec import BatchShape, Layout, Model, Precision, Spec

LARGEST = 50_000_000
TOLERANCE = 1e-3
TOKENS = 32
SMALL: dict[str, dict[str, Any]] = {
    "deepseek_v4": {
        "num_attention_heads": 4, "head_dim": 32, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 16,
        "index_n_heads": 2, "index_head_dim": 16, "index_topk": 4, "sliding_window": 16,
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    },
    "deepseek_v3": {
        "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 32, "kv_lora_rank": 16,
        "qk_rope_head_dim": 8, "v_head_dim": 16, "qk_nope_head_dim": 16, "n_group": 1, "topk_group": 1,
    },
    "": {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16},
}  # fmt: skip


@dataclass(frozen=True)
class Parity:
    """Outcome. `max_relative`: largest |difference| of a gradient over the largest |gradient| of its tensor, over all
    tensors; `worst`: that tensor; `shrunk`: a smaller model of the class stood in; `seconds`: what it took.
    """

    ok: bool
    max_relative: float
    worst: str
    loss_relative: float
    shrunk: bool
    seconds: float


def check(spec: Spec, config: Any, mesh: Mesh) -> Parity:
    """Compares the layout with one process. Collective; the same outcome on every rank."""
    started = time.perf_counter()
    shrunk = _parameters(config) > LARGEST
    small = _shrunk(config, spec.layout) if shrunk else copy.deepcopy(config)
    layout = spec.layout
    if shrunk:  # a copy on each rank if the layout has any
        slots = -(-8 // layout.ep) + 1 if layout.slots_per_rank and layout.ep > 1 else None
        layout = replace(layout, stages=None, slots_per_rank=slots)
    rows = layout.data_ranks * (layout.pp if layout.vpp > 1 else 2)
    spec = replace(
        spec, layout=layout, model=Model(spec.model.config), placement=None if shrunk else spec.placement,
        precision=Precision(), batch=BatchShape(min(TOKENS, spec.batch.sequence_length), 1, rows),
    )  # fmt: skip
    here = _gradients(Engine.build(spec, mesh, copy.deepcopy(small)))
    lone = replace(spec, layout=Layout(recompute=layout.recompute), placement=None)
    reference = _gradients(Engine.build(lone, alone(mesh), copy.deepcopy(small)))
    worst, where = 0.0, ""
    for name, (gradient, piece) in here.gradients.items():
        wanted = reference.gradients[name][0]
        scale = float(wanted.abs().max()) or 1.0
        for block in piece.blocks:
            part = wanted[tuple(slice(o, o + n) for o, n in zip(block.offsets, block.sizes, strict=True))]
            mine = gradient if block.slot is None else gradient[block.slot : block.slot + 1]
            gap = float((mine - part).abs().max()) / scale if mine.numel() else 0.0
            worst, where = max((worst, where), (gap if gap == gap else float("inf"), name))
    everyone: list[Any] = [(worst, where)]
    if dist.get_world_size() > 1:
        everyone = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, (worst, where))
    worst, where = max(everyone)
    loss = abs(here.loss - reference.loss) / max(abs(reference.loss), 1e-9)
    ok = worst <= TOLERANCE and loss <= TOLERANCE
    return Parity(ok, worst, where, loss, shrunk, time.perf_counter() - started)


@dataclass(frozen=True)
class _Found:
    gradients: dict[str, tuple[torch.Tensor, Any]]
    loss: float


def _gradients(engine: Engine) -> _Found:
    """Local gradients of one backward over rows that are the same in every layout."""
    batch, vocabulary = engine.spec.batch, engine.family.config.vocab_size
    draw = torch.Generator().manual_seed(engine.spec.seed)
    ids = torch.randint(0, vocabulary, (batch.global_batch, batch.sequence_length), generator=draw)
    each = batch.global_batch // engine.spec.layout.data_ranks
    mine = ids[engine.mesh.data_rank * each :][:each]
    engine.backward(mine, mine)
    pieces = engine.pieces()
    with torch.no_grad():
        _, sums = engine.reduce(pieces)
    found = {
        name: (torch.zeros_like(piece.local) if p.grad is None else parallel.local_of(p.grad), piece)
        for name, (p, piece) in pieces.items()
    }
    return _Found(found, sum(sums))


def _parameters(config: Any) -> int:
    """A lower bound of a model's parameters that needs no model: experts, attention of full width, embeddings."""
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    experts = getattr(config, "n_routed_experts", None) or getattr(config, "num_local_experts", None) or 1
    width = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    return layers * (int(experts) * 3 * hidden * int(width) + 2 * hidden * hidden) + int(config.vocab_size) * hidden


def _shrunk(config: Any, layout: Layout) -> Any:
    """A small configuration of the same class: one layer of each kind at least, experts that EP divides."""
    small = copy.deepcopy(config)
    kinds = {n: list(getattr(config, n, None) or []) for n in ("layer_types", "mlp_layer_types")}
    pairs = list(dict.fromkeys(zip(*(k or [None] * config.num_hidden_layers for k in kinds.values()), strict=True)))
    count = -(-max(len(pairs), 2) // (layout.pp * layout.vpp)) * layout.pp * layout.vpp
    chosen = [pairs[i % len(pairs)] for i in range(count)]
    size = layout.efsdp * -(-64 // layout.efsdp)
    fields: dict[str, Any] = {
        "num_hidden_layers": count, "vocab_size": 256, "hidden_size": size, "intermediate_size": size,
        "moe_intermediate_size": layout.efsdp * -(-32 // layout.efsdp), "max_position_embeddings": 256,
        "first_k_dense_replace": 1, **SMALL.get(config.model_type, SMALL[""]),
    }  # fmt: skip
    for i, (name, kind) in enumerate(kinds.items()):
        if kind:
            fields[name] = [pair[i] for pair in chosen]
    experts = layout.ep * -(-8 // layout.ep)
    fields |= dict.fromkeys(("n_routed_experts", "num_local_experts", "num_experts"), experts)
    if hasattr(config, "num_experts_per_tok"):
        fields["num_experts_per_tok"] = min(int(config.num_experts_per_tok), 2)
    document = small.to_dict()
    document.pop("rope_parameters", None)
    document |= {name: value for name, value in fields.items() if name in document}
    return type(config)(**{k: v for k, v in document.items() if k not in ("model_type", "transformers_version")})
