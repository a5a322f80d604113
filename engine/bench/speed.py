"""Tokens per second against a plain torch loop: `python engine/bench/speed.py [--steps 6]`.

Both train the same DeepSeek-V4 class (6.4 M parameters, all attention kinds) on the same rows: the loop in one process
with two threads, the engine on PP2 x EP2, four ranks of one thread. The class has no MTP layer and no indexer
objective, so both are off. CPU seconds stand beside the wall clock, for machines that are not idle.
"""

from __future__ import annotations

import argparse
import sys
import time
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


def plain(steps: int) -> tuple[float, float]:
    """Wall and CPU seconds per step of the obvious loop."""
    torch.set_num_threads(2)
    from transformers import DeepseekV4ForCausalLM

    model = DeepseekV4ForCausalLM(tiny.config("v4", **MODEL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    wall, cpu = 0.0, 0.0
    for step in range(steps + 1):
        if step == 1:
            wall, cpu = time.perf_counter(), time.process_time()
        for ids, labels in zip(*(part.chunk(4) for part in rows(step)), strict=True):
            (model(input_ids=ids, labels=labels).loss / 4).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def ours(steps: int) -> tuple[float, float]:
    """The same of one rank of the engine."""
    batch = {"sequenceLength": LENGTH, "microBatch": 2, "globalBatch": ROWS}
    layout = {"stages": [[0, 1, 2], [3, 4, 5]]}
    spec = tiny.spec(pp=2, ep=2, shard=2, moe={"biasRate": 0.001}, mtp={}, indexer={}, batch=batch, layout=layout)
    engine = Engine.build(spec, config=tiny.config("v4", **MODEL))
    each = ROWS // spec.layout.data_ranks
    wall, cpu = 0.0, 0.0
    for step in range(steps + 1):
        if step == 1:
            wall, cpu = time.perf_counter(), time.process_time()
        ids, labels = (part[engine.mesh.data_rank * each :][:each] for part in rows(step))
        engine.train_step(ids, labels)
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def main() -> None:
    """Prints both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    steps = parser.parse_args().steps
    ((wall, cpu),) = worlds.run(1, plain, steps)
    found = worlds.run(4, ours, steps)
    wall4, cpu4 = max(w for w, _ in found), sum(c for _, c in found)
    tokens = ROWS * LENGTH
    print(f"plain loop, 1 process, 2 threads  {tokens / wall:8.0f} tokens/s  {cpu:6.2f} CPU s per step")
    print(f"engine PP2 x EP2, 4 ranks         {tokens / wall4:8.0f} tokens/s  {cpu4:6.2f} CPU s per step")
    print(f"ratio of tokens/s {wall / wall4:.2f}, of CPU seconds {cpu / cpu4:.2f}")


if __name__ == "__main__":
    main()
