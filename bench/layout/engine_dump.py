"""What the ranks of our engine really hold: reads cases as JSON from stdin, writes one JSON document to stdout.

A case is {"config": {...config.json...}, "spec": {...worker spec without model...}}. Every rank is a forked process over
gloo. For each rank: bytes by category after two steps, the blocks of every tensor, and (without a pipeline) the bytes
that the forward pass of one micro-batch leaves for its backward pass.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import torch

from tessera_engine.engine import Engine
from tessera_engine.spec import Spec, read_config

CONTEXT = multiprocessing.get_context("fork")


def rows(engine: Engine, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """This data rank's part of a seeded batch; every token but the first has a target."""
    batch = engine.spec.batch
    draw = torch.Generator().manual_seed(7)
    ids = torch.randint(0, vocabulary, (batch.global_batch, batch.sequence_length), generator=draw)
    each = batch.global_batch // engine.spec.layout.data_ranks
    mine = ids[engine.mesh.data_rank * each :][:each]
    return mine, mine.clone()


class Kept:
    """Counts distinct storages that autograd keeps. Parameters and what existed before do not count."""

    def __init__(self, engine: Engine, detail: bool) -> None:
        self.engine, self.detail = engine, detail
        self.bytes: dict[int, int] = {}
        self.rows: list[list[Any]] = []
        self.hold: list[torch.Tensor] = []

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Called for every saved tensor."""
        base = tensor._base if tensor._base is not None else tensor
        if isinstance(base, torch.nn.Parameter) or isinstance(tensor, torch.nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        at = storage.data_ptr()
        if at not in self.known and at not in self.bytes:
            self.bytes[at] = storage.nbytes()
            self.hold.append(tensor)
            if self.detail:
                self.rows.append([list(tensor.shape), str(tensor.dtype), storage.nbytes(), where()])
        return tensor

    def measure(self, ids: torch.Tensor, labels: torch.Tensor) -> int:
        """Bytes kept by one forward of the (only) stage."""
        stage: Any = self.engine.stages[0]
        trace = self.engine.trace
        trace.targets = trace.mtp_targets = trace.rows = trace.tokens = 1.0
        trace.length = ids.shape[1]
        self.known = {t.untyped_storage().data_ptr() for t in (ids, labels, *stage.buffers())}
        self.known |= {m.untyped_storage().data_ptr() for m in self.engine.family._masks.values()}
        with torch.autograd.graph.saved_tensors_hooks(self.pack, lambda t: t):
            loss = stage(ids, input_ids=ids, labels=labels).sum()
        unsharded = {p.untyped_storage().data_ptr() for p in stage.parameters()}
        total = sum(n for at, n in self.bytes.items() if at not in unsharded)
        loss.backward()
        self.engine._forget()
        return total


def where() -> str:
    """The innermost line of a model file that made the tensor."""
    for frame in reversed(traceback.extract_stack()[:-2]):
        if "/transformers/models/" in frame.filename or "/tessera_engine/" in frame.filename:
            return f"{Path(frame.filename).name}:{frame.lineno} {frame.line}"
    return "?"


def task(case: dict[str, Any]) -> dict[str, Any]:
    """One rank of one case."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(case["config"]))
        config = read_config(folder)
    spec = Spec.of({**case["spec"], "model": {"config": "none"}})
    engine = Engine.build(spec, config=config)
    ids, labels = rows(engine, int(case["config"]["vocab_size"]))
    for _ in range(2):
        result = engine.train_step(ids, labels)
    blocks = {
        name: [[list(block.offsets), list(block.sizes)] for block in piece.blocks]
        for name, (_, piece) in engine.pieces().items()
    }
    found: dict[str, Any] = {"memory": result.memory, "blocks": blocks}
    if spec.layout.pp == 1:
        kept = Kept(engine, bool(case.get("detail")))
        micro = spec.batch.micro_batch
        found["saved"] = kept.measure(ids[:micro], labels[:micro])
        found["rows"] = kept.rows
    return found


def rank_main(rank: int, world: int, port: int, pipe: Any, case: dict[str, Any]) -> None:
    """Body of a forked rank."""
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    try:
        pipe.send(task(case))
    except BaseException as error:
        pipe.send({"error": f"rank {rank}: {error!r}\n{traceback.format_exc()}"})
    pipe.close()
    os._exit(0)


def run(case: dict[str, Any]) -> list[dict[str, Any]]:
    """All ranks of a case."""
    layout = case["spec"]["layout"]
    world = layout.get("pp", 1) * layout.get("dpShard", 1) * layout.get("dpReplicate", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pipes, processes = [], []
    for rank in range(world):
        mine, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=rank_main, args=(rank, world, port, theirs, case), daemon=True)
        process.start()
        theirs.close()
        pipes.append(mine)
        processes.append(process)
    try:
        return [pipe.recv() for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


if __name__ == "__main__":
    # Imported before the forks, so that every rank has it already.
    import transformers.models.deepseek_v3.modeling_deepseek_v3
    import transformers.models.deepseek_v4.modeling_deepseek_v4
    import transformers.models.qwen3_moe.modeling_qwen3_moe  # noqa: F401

    json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
