"""What the ranks of our engine really hold: reads cases as JSON from stdin, writes one JSON document to stdout.

A case is {"config": {...config.json...}, "spec": {...worker spec without model...}}. Every rank is a forked process over
gloo. For each rank: bytes by category after two steps, the blocks of every tensor, and for each of its stages the bytes
that the forward pass of one micro-batch leaves for its backward pass, in the step as the schedule runs it. A case with
"steps" only trains that many steps and tells their seconds, by the clock and of its processors.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
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
    """Counts distinct storages that autograd keeps of each stage's forward of one micro-batch, in a real step.

    Parameters (gathered ones too) and what existed before do not count. The first micro-batch of every stage counts.
    """

    def __init__(self, engine: Engine, detail: bool, *inputs: torch.Tensor) -> None:
        self.engine, self.detail, self.rows = engine, detail, []
        self.bytes: dict[int, int] = {}
        # (token, choice) pairs of that micro-batch: computed by this rank's experts, and sent by its router.
        self.pairs: dict[int, tuple[int, int]] = {}
        kept = [*inputs, *(b for stage in engine.stages for b in stage.buffers()), *engine.family._masks.values()]
        self.known = {t.untyped_storage().data_ptr() for t in kept}
        for number, stage in enumerate(engine.stages):
            self.wrap(number, stage)

    def wrap(self, number: int, stage: Any) -> None:
        """Lets the stage's next forward be watched."""
        inner = stage.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if number in self.bytes:
                return inner(*args, **kwargs)
            found: dict[int, int] = {}
            # Held until they are counted, or a freed storage's address could come again.
            hold: list[torch.Tensor] = []

            def pack(tensor: torch.Tensor) -> torch.Tensor:
                base = tensor._base if tensor._base is not None else tensor
                if isinstance(base, torch.nn.Parameter) or isinstance(tensor, torch.nn.Parameter):
                    return tensor
                storage = tensor.untyped_storage()
                at = storage.data_ptr()
                if at not in self.known and at not in found:
                    found[at] = storage.nbytes()
                    hold.append(tensor)
                    if self.detail:
                        self.rows.append([list(tensor.shape), str(tensor.dtype), storage.nbytes(), where()])
                return tensor

            trace = self.engine.trace
            before = trace.computed, trace.routed
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                out = inner(*args, **kwargs)
            self.pairs[number] = trace.computed - before[0], trace.routed - before[1]
            gathered = {p.untyped_storage().data_ptr() for p in stage.parameters()}
            self.bytes[number] = sum(n for at, n in found.items() if at not in gathered)
            return out

        stage.forward = forward


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
    if steps := case.get("steps"):
        walls, works = [], []
        for _ in range(steps):
            before = time.process_time()
            walls.append(engine.train_step(ids, labels).seconds)
            works.append(time.process_time() - before)
        return {"seconds": walls, "work": works}
    for _ in range(2):
        result = engine.train_step(ids, labels)
    blocks = {
        name: [[list(block.offsets), list(block.sizes)] for block in piece.blocks]
        for name, (_, piece) in engine.pieces().items()
    }
    kept = Kept(engine, bool(case.get("detail")), ids, labels)
    engine.backward(ids, labels)
    engine._forget()
    found: dict[str, Any] = {"memory": result.memory, "blocks": blocks, "rows": kept.rows}
    stages = [s for s in range(spec.layout.pp * spec.layout.vpp) if s % spec.layout.pp == engine.mesh.pp_rank]
    found["saved"] = {stage: [kept.bytes[i], *kept.pairs[i]] for i, stage in enumerate(stages)}
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
