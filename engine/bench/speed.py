"""Tokens per second and peak memory against a plain torch loop: `python engine/bench/speed.py [--steps 6]`.

Both train the same DeepSeek-V4 class (6.4 M parameters, all attention kinds) on the same rows with the same optimizer:
the loop in one process with two threads, the engine on ranks of one thread, in several layouts. The class has no MTP
layer and no indexer objective, so both are off. CPU seconds stand beside the wall clock, for machines that are not
idle, and rounds alternate, so what slows the machine slows both. Memory is the growth of resident memory over what a
process held before it built its model.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ENGINE), str(ENGINE / "tests")]

import tiny  # noqa: E402
import torch  # noqa: E402
import worlds  # noqa: E402

from tessera_engine.engine import Engine  # noqa: E402

LENGTH, ROWS = 256, 8
MODEL: dict[str, Any] = {
    "vocab_size": 1536, "hidden_size": 192, "num_hidden_layers": 6, "moe_intermediate_size": 128,
    "num_attention_heads": 6, "head_dim": 64, "q_lora_rank": 96, "o_lora_rank": 64, "sliding_window": 64,
    "layer_types": [*tiny.V4_KINDS, "heavily_compressed_attention", "compressed_sparse_attention"],
    "mlp_layer_types": ["hash_moe", *["moe"] * 5], "index_head_dim": 32, "index_topk": 16, "hc_sinkhorn_iters": 20,
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 32},
    "max_position_embeddings": 512, "num_nextn_predict_layers": 0,
}  # fmt: skip


def rows(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A global batch with loss on the last three quarters of each row."""
    ids = torch.randint(0, 1536, (ROWS, LENGTH), generator=torch.Generator().manual_seed(step))
    labels = ids.clone()
    labels[:, : LENGTH // 4] = -100
    return ids, labels


LAYOUTS: dict[str, dict[str, Any]] = {
    "data parallel 2": {"replicate": 2, "layout": {"reshardAfterForward": False}},
    "FSDP2": {"shard": 2, "layout": {"reshardAfterForward": False}},
    "PP2": {"pp": 2, "layout": {"stages": [[0, 1, 2], [3, 4, 5]]}},
    "PP2 x EP2": {"pp": 2, "ep": 2, "shard": 2, "layout": {"stages": [[0, 1, 2], [3, 4, 5]]}},
}
Figures = tuple[float, float, float]


def measured(step: Callable[[int], object], build_bytes: int, steps: int) -> Figures:
    """Median wall seconds and CPU seconds of a step after one that warms up, and the growth of memory in bytes."""
    step(0)
    wall, cpu = [], []
    for number in range(1, steps + 1):
        begun, used = time.perf_counter(), time.process_time()
        step(number)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return statistics.median(wall), statistics.median(cpu), peak_bytes() - build_bytes


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def plain(steps: int) -> Figures:
    """The obvious loop."""
    torch.set_num_threads(2)
    from transformers import DeepseekV4ForCausalLM

    before = peak_bytes()
    model = DeepseekV4ForCausalLM(tiny.config("v4", **MODEL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)

    def step(number: int) -> None:
        for ids, labels in zip(*(part.chunk(4) for part in rows(number)), strict=True):
            (model(input_ids=ids, labels=labels).loss / 4).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return measured(step, before, steps)


def ours(name: str, steps: int) -> Figures:
    """One rank of the engine."""
    before = peak_bytes()
    batch = {"sequenceLength": LENGTH, "microBatch": 2, "globalBatch": ROWS}
    spec = tiny.spec(moe={"biasRate": 0.001}, mtp={}, indexer={}, batch=batch, **LAYOUTS[name])
    engine = Engine.build(spec, config=tiny.config("v4", **MODEL))
    each = ROWS // spec.layout.data_ranks
    mine = slice(engine.mesh.data_rank * each, (engine.mesh.data_rank + 1) * each)
    return measured(lambda number: engine.train_step(*(part[mine] for part in rows(number))), before, steps)


def main() -> None:
    """Prints a line for the loop and for each layout: medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layouts", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    chosen = parser.parse_args()
    found: dict[str, list[list[Figures]]] = {"plain loop": [], **{name: [] for name in chosen.layouts}}
    for _ in range(chosen.rounds):
        found["plain loop"].append(worlds.run(1, plain, chosen.steps))
        for name in chosen.layouts:
            found[name].append(worlds.run(tiny.spec(**LAYOUTS[name]).layout.world, ours, name, chosen.steps))
    base_wall = base_cpu = 0.0
    for name, rounds in found.items():
        wall = statistics.median(max(w for w, _, _ in ranks) for ranks in rounds)
        cpu = statistics.median(sum(c for _, c, _ in ranks) for ranks in rounds)
        memory = [max(part[2] for part in each) / 1e6 for each in zip(*rounds, strict=True)]
        base_wall, base_cpu = base_wall or wall, base_cpu or cpu
        print(
            f"{name:16} {len(memory)} ranks  {ROWS * LENGTH / wall:6.0f} tokens/s"
            f" ({base_wall / wall:.2f} x)  {cpu:5.2f} CPU s a step ({base_cpu / cpu:.2f} x)"
            f"  memory {max(memory):4.0f} MB a process, {sum(memory):4.0f} MB in all"
        )


if __name__ == "__main__":
    main()
