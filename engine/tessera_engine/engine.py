"""The engine of one rank: builds its stages from a spec, trains a step, and hands out its state as pieces.

    engine = Engine.build(spec)                 # collective: all ranks of the layout
    result = engine.train_step(ids, labels)     # this data rank's rows; raises NotFinite before any update
    engine.state_dict()                         # pieces by logical name, for a distributed checkpoint

A step: count targets -> forward and backward by the schedule -> norm and losses in one collective -> stop if not
finite -> clip -> AdamW -> balance biases. Nothing outside a step changes weights but `load_state_dict` and a move.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from tessera_engine import copies, hf, initial, losses, optim, parallel
from tessera_engine.dispatch import Dispatcher
from tessera_engine.errors import EngineError
from tessera_engine.families import Family, family_of
from tessera_engine.mesh import Mesh, build_mesh
from tessera_engine.pieces import Block, Piece
from tessera_engine.spec import Spec, read_config, stage_split
from tessera_engine.trace import Trace

# Losses, and (token, k) pairs that were routed but not computed: summed over all ranks in one collective.
SUMS = ("main", "mtp", "indexer", "balance", "dropped")
SHARED = "model.embed_tokens.weight"


class NotFinite(EngineError):
    """Loss or gradient norm is NaN or infinite; weights and optimizer are as before the step."""

    def __init__(self, step: int, loss: float, norm: float, parameters: list[str]) -> None:
        message = f"step {step}: loss {loss}, gradient norm {norm}"
        super().__init__("ENGINE_NOT_FINITE", message, 40, step=step, parameters=parameters)


@dataclass(frozen=True)
class StepResult:
    """One step, the same on every rank except `spans` (seconds), `loads` (of this stage), pairs and `memory` (bytes).

    Losses are nats per target token of the global batch; `loss` is what was minimised. `loads`: int64 [experts] of the
    whole global batch by layer number, MTP depth d being layer L + d. `tokens`: input tokens of the global batch.
    Pairs (token, k): `expert_pairs` of this rank's experts; `sent_pairs` by its routers to itself, in its node, over
    the network; `dropped_pairs` to nobody. `link_bytes`: what its all-to-alls sent over each of these, in a step that
    times them one by one (spans "allToAll.rank", ".node", ".network"), else zeros.
    """

    step: int
    loss: float
    main_loss: float
    mtp_loss: float
    indexer_loss: float
    balance_loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    targets: int
    seconds: float
    expert_pairs: int
    sent_pairs: list[int]
    link_bytes: list[int]
    dropped_pairs: int
    loads: dict[int, torch.Tensor] = field(repr=False)
    spans: dict[str, float] = field(repr=False)
    memory: dict[str, int] = field(repr=False)


class Engine:
    """One rank. Use `build`; attributes `spec`, `mesh`, `family`, `stages`, `trace`, `step` may be read."""

    def __init__(self, spec: Spec, config: Any, mesh: Mesh) -> None:
        self.spec, self.mesh, self.trace, self.step = spec, mesh, Trace(), 0
        self.warm = False
        # Experts on their way: what waits for them, and the group that they travel in (relocate.py).
        self.landing: list[Callable[[], None]] = []
        self.moving: dist.ProcessGroup | None = None
        self._kept: tuple[int | None, optim.Pieces] = (None, {})
        self.family: Family = family_of(spec, config, self.trace)
        whole = self.family.whole()
        split, layout = stage_split(spec.layout, self.family.depth), spec.layout
        self.numbers = list(range(mesh.pp_rank, len(split), layout.pp))
        self.stages = [self.family.stage(whole, split[i], first=i == 0, last=i == len(split) - 1) for i in self.numbers]
        for stage in self.stages:
            parallel.distribute(stage, spec, mesh, self.family)
        self.runner = parallel.Runner(self.stages, self.numbers, spec, mesh, self.family)
        # Embedding on both ends of the pipeline: one logical tensor, two copies whose gradients are added.
        self.both_ends = layout.pp > 1 and self.family.embeds_last
        self.optimizer = optim.AdamW(spec.optimizer, self.pieces())

    @staticmethod
    def build(spec: Spec, mesh: Mesh | None = None, config: Any = None, weights: bool = True) -> Engine:
        """An engine with weights (from the spec's folder, or drawn), or without for one that resumes.

        Collective when `mesh` is not given.
        """
        torch.set_num_threads(spec.threads)
        torch.use_deterministic_algorithms(spec.deterministic)
        # Filling fresh storage (a guard against reading garbage) costs a pass over memory per tensor.
        torch.utils.deterministic.fill_uninitialized_memory = False
        mesh = mesh or build_mesh(spec.layout)
        engine = Engine(spec, config if config is not None else read_config(spec.model.config), mesh)
        if weights:
            engine.load_weights()
        return engine

    # State

    def pieces(self) -> optim.Pieces:
        """Parameters of this rank by logical name. Valid until the next move of an expert (`Dispatcher.place`)."""
        # FSDP may exchange local tensors in its first forward, so nothing is kept before that.
        version = sum(d.version for d in self.dispatchers().values()) if self.warm else None
        if version is None or self._kept[0] != version:
            found: optim.Pieces = {}
            for stage in self.stages:
                found |= parallel.pieces_of(stage, self.mesh)
            self._kept = version, found
        return self._kept[1]

    def buffers(self) -> dict[str, torch.Tensor]:
        """Persistent buffers (router biases, hash tables) of this rank by logical name; equal on all data ranks."""
        return {
            name: buffer
            for stage in self.stages
            for name, buffer in stage.named_buffers()
            if not name.rpartition(".")[2].endswith("inv_freq")
        }

    def experts(self) -> dict[int, Any]:
        """Experts modules of this rank's layers by layer number."""
        found: dict[int, Any] = {}
        for stage in self.stages:
            found |= parallel.experts_of(stage)
        return found

    def dispatchers(self) -> dict[int, Dispatcher]:
        """Dispatchers of this rank's layers by layer number."""
        return {n: module.tessera for n, module in self.experts().items()}

    def gates(self) -> dict[int, nn.Module]:
        """Routers of this rank's expert layers by layer number."""
        blocks: dict[str, Any] = {}
        for stage in self.stages:
            blocks |= stage.blocks()
        return {int(n): block.mlp.gate for n, block in blocks.items() if hasattr(block.mlp, "gate")}

    def placement(self) -> dict[str, list[int]]:
        """Slot tables of this rank's layers, as the spec writes them."""
        return {str(n): list(d.slots) for n, d in self.dispatchers().items()}

    def load_weights(self) -> list[str]:
        """Fills parameters and buffers as the spec says. Returns what the folder lacked (MTP only) and was drawn."""
        model, config = self.spec.model, self.family.config
        folder = hf.Folder(model.weights or model.config) if model.init == "hf" else None
        drawn: list[str] = []
        std = float(getattr(config, "initializer_range", 0.02))
        with torch.no_grad():
            for stage in self.stages:
                for name, (_, piece) in parallel.pieces_of(stage, self.mesh).items():
                    if folder is not None and hf.read_piece(folder, config, name, piece):
                        continue
                    self._draw_allowed(folder, name, drawn)
                    initial.fill(piece, initial.owner_of(stage, name), self.spec.seed, std)
            for name, buffer in self.buffers().items():
                piece = _buffer_piece(name, buffer)
                if folder is not None and hf.read_piece(folder, config, name, piece):
                    continue
                self._draw_allowed(folder, name, drawn)
                initial.fill_buffer(name, buffer, self.spec.seed, self.family.experts)
        return drawn

    def _draw_allowed(self, folder: hf.Folder | None, name: str, drawn: list[str]) -> None:
        if folder is None:
            return
        if not name.startswith("mtp."):
            message = f"{name} is not in {folder.path}"
            raise EngineError("ENGINE_WEIGHTS_MISSING", message, file=str(folder.path), tensor=name)
        drawn.append(name)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and optimizer as pieces: `model/<name>`, `exp_avg/<name>`, `exp_avg_sq/<name>`.

        They share storage with the engine. Names and shapes are the same in all layouts; `step` is the rest.
        """
        self.settle()
        pieces = self.pieces()
        state: dict[str, torch.Tensor] = {f"model/{n}": piece.like(piece.local) for n, (_, piece) in pieces.items()}
        state |= {f"model/{n}": _buffer_piece(n, buffer) for n, buffer in self.buffers().items()}
        return state | self.optimizer.pieces(pieces)

    def resume(self, step: int) -> None:
        """Continues after a step; placements are this engine's own and need not be the saved ones."""
        self.step = self.optimizer.steps = step

    def settle(self) -> None:
        """Waits for experts that are still on their way (relocate.py)."""
        for land in self.landing:
            land()
        self.landing.clear()

    # Training

    def train_step(self, input_ids: torch.Tensor, labels: torch.Tensor) -> StepResult:
        """One update. input_ids, labels: int64 [globalBatch / data ranks, s], the rows of `mesh.data_rank`, on every
        pipeline stage alike. Raises `NotFinite` on all ranks, nothing updated, when loss or gradient is not finite.
        """
        started = time.perf_counter()
        targets = self.backward(input_ids, labels)
        pieces = self.pieces()
        with torch.no_grad(), self.trace.span("norm"):
            norm, sums = self.reduce(pieces)
        weighted = [1.0, self.spec.mtp.loss_weight, self.spec.indexer.loss_weight, 1.0, 0.0]
        loss = sum(w * s for w, s in zip(weighted, sums, strict=True))
        step = self.step + 1
        if not all(abs(x) < float("inf") for x in (loss, norm)):
            bad = [n for n, (p, _) in pieces.items() if p.grad is not None and not _finite(p.grad)]
            self._forget()
            raise NotFinite(step, loss, norm, bad)
        rate = optim.learning_rate(self.spec.optimizer, self.spec.steps, step)
        self.settle()
        with torch.no_grad(), self.trace.span("optimizer"):
            clip = self.spec.optimizer.clip
            if clip and norm > clip:
                optim.scale_gradients(pieces, clip / norm)
            self.optimizer.step(pieces, rate)
        with torch.no_grad(), self.trace.span("balance"):
            loads = self._loads()
            if bias_rate := optim.bias_rate(self.spec.moe, self.spec.steps, step):
                optim.balance_bias(self.gates(), loads, bias_rate)
        memory = self.memory(pieces)
        self._forget()
        self.step = step
        tokens = self.spec.batch.global_batch * self.spec.batch.sequence_length
        main, mtp, indexer, balance, dropped = sums
        return StepResult(
            step=step, loss=loss, main_loss=main, mtp_loss=mtp, indexer_loss=indexer, balance_loss=balance,
            grad_norm=norm, learning_rate=rate, tokens=tokens, targets=int(targets),
            seconds=time.perf_counter() - started, expert_pairs=self.trace.computed, sent_pairs=self.trace.sent,
            link_bytes=self.trace.link_bytes, dropped_pairs=int(dropped), loads=loads,
            spans=dict(self.trace.spans), memory=memory,
        )  # fmt: skip

    def backward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> float:
        """Forward and backward of the whole batch, without an update; returns the target tokens of the global batch."""
        batch, trace = self.spec.batch, self.trace
        rows = batch.global_batch // self.spec.layout.data_ranks
        if tuple(input_ids.shape) != (rows, batch.sequence_length) or input_ids.shape != labels.shape:
            found = f"{list(input_ids.shape)} is not {[rows, batch.sequence_length]}"
            raise EngineError("ENGINE_BATCH_SHAPE", f"this data rank's batch {found}")
        input_ids, labels = input_ids.to(self.mesh.device), labels.to(self.mesh.device)
        trace.clear()
        for dispatcher in self.dispatchers().values():
            dispatcher.clear()
        counts = losses.count_targets(labels, self.family.mtp_depth)
        if self.mesh.data_group is not None:
            dist.all_reduce(counts, group=self.mesh.data_group)
        targets, mtp_targets = counts.tolist()
        trace.targets, trace.mtp_targets = max(targets, 1), max(mtp_targets, 1)
        trace.rows, trace.length = batch.global_batch, batch.sequence_length
        trace.tokens = batch.global_batch * batch.sequence_length
        # From the second step on, which is the first that finds everything warm.
        every = int(self.spec.telemetry.get("linksEvery", 0))
        trace.counting, trace.by_link = True, every > 0 and (self.step - 1) % every == 0
        try:
            with trace.span("forwardBackward"):
                self.runner.run(input_ids, labels)
        finally:
            trace.counting = False
        self.warm = True
        trace.sums["dropped"] = torch.tensor(trace.routed - trace.computed, dtype=torch.float64)
        with torch.no_grad(), trace.span("copies"):
            copies.add_up(self.experts().values())
        if self.both_ends:
            self._add_embedding_gradients()
        return float(targets)

    def _ends(self) -> list[nn.Parameter]:
        return [p for n, (p, _) in self.pieces().items() if n == SHARED]

    def _add_embedding_gradients(self) -> None:
        """Both ends of the pipeline get the sum of their gradients of the shared embedding."""
        mine = self._ends()
        gradient = parallel.local_of(mine[0].grad) if mine else None
        assert self.mesh.pp_group is not None
        shape, pp = self._shared_shape(), self.spec.layout.pp
        part = torch.zeros(shape, device=self.mesh.device) if gradient is None else gradient.contiguous()
        if pp == 2:
            dist.all_reduce(part, group=self.mesh.pp_group)
        else:
            parallel.ordered_all_reduce(self.mesh.pp_group)(part)
        if gradient is not None:
            gradient.copy_(part)

    def _shared_shape(self) -> tuple[int, ...]:
        config, shards = self.family.config, self.spec.layout.dp_shard
        chunk = -(-config.vocab_size // shards)
        rows = max(0, min(chunk, config.vocab_size - self.mesh.shard_rank * chunk))
        return (rows, config.hidden_size)

    def reduce(self, pieces: optim.Pieces) -> tuple[float, list[float]]:
        """Global gradient norm, and the step's sums in the order of `SUMS`. Collective."""
        twice = self.both_ends and not self.stages[0].first
        local = optim.squared_norms(pieces, frozenset([SHARED]) if twice else frozenset())
        zero = torch.zeros((), dtype=torch.float64, device=local.device)
        extra = torch.stack([self.trace.sums.get(name, zero).to(local.device) for name in SUMS])
        return optim.reduce_norms(local, extra, self.mesh)

    def _loads(self) -> dict[int, torch.Tensor]:
        """Loads of the whole global batch, one collective for all layers of this rank."""
        ways = self.dispatchers()
        if not ways:
            return {}
        table = torch.stack([way.loads for way in ways.values()])
        if self.mesh.data_group is not None:
            table = table.to(self.mesh.device)
            dist.all_reduce(table, group=self.mesh.data_group)
        return dict(zip(ways, table.cpu(), strict=True))

    def _forget(self) -> None:
        for stage in self.stages:
            for parameter in stage.parameters():
                parameter.grad = None

    # What the run shows

    def parameters_without_gradient(self, input_ids: torch.Tensor, labels: torch.Tensor) -> list[str]:
        """Trainable parameters of the whole model whose gradient is missing or all zero after one backward of these
        rows, sorted; nothing is updated. "Full-parameter" means that this list is empty. Collective.
        """
        self.backward(input_ids, labels)
        mine: dict[str, float] = {}
        for name, (parameter, _) in self.pieces().items():
            if parameter.requires_grad:
                gradient = None if parameter.grad is None else parallel.local_of(parameter.grad)
                mine[name] = 0.0 if gradient is None or not gradient.numel() else float(gradient.abs().max())
        self._forget()
        everyone: list[dict[str, float]] = [mine]
        if dist.get_world_size() > 1:
            everyone = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(everyone, mine)
        most: dict[str, float] = {}
        for part in everyone:
            for name, value in part.items():
                most[name] = max(value, most.get(name, 0.0))
        return sorted(name for name, value in most.items() if value == 0.0)

    def memory(self, pieces: optim.Pieces | None = None) -> dict[str, int]:
        """Bytes of this rank by category. `peak` and `activations` need an accelerator's counters and are 0 on CPU."""
        pieces = pieces or self.pieces()
        weights = sum(piece.local.nbytes for _, piece in pieces.values())
        gradients = sum(piece.local.nbytes for p, piece in pieces.values() if p.grad is not None)
        moments = sum(t.nbytes for group in self.optimizer.moments.values() for t in group.values())
        buffers = sum(b.nbytes for b in self.buffers().values())
        peak = torch.accelerator.max_memory_allocated() if self.mesh.device.type != "cpu" else 0
        fixed = weights + gradients + moments + buffers
        return {
            "weights": weights, "gradients": gradients, "optimizer": moments, "buffers": buffers,
            "activations": max(0, peak - fixed), "peak": peak,
        }  # fmt: skip


def _buffer_piece(name: str, buffer: torch.Tensor) -> Piece:
    shape = tuple(buffer.shape)
    return Piece.of(buffer, name, shape, (Block((0,) * len(shape), shape),))


def _finite(gradient: Any) -> bool:
    return bool(parallel.local_of(gradient).isfinite().all())
