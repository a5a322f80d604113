"""Losses of parallel layouts against one process, same weights and rows: `python engine/bench/parity.py [--steps 20]`.

"With copies" has ten slots for eight experts, and the copies change their places at every fifth step. Prints, per model
family and layout, the largest relative difference of the loss over all steps. The bound is 1e-5.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ENGINE), str(ENGINE / "tests")]

import tiny  # noqa: E402
import torch.distributed as dist  # noqa: E402
import worlds  # noqa: E402

from tessera_engine import relocate  # noqa: E402
from tessera_engine.engine import Engine  # noqa: E402
from tessera_engine.spec import Spec  # noqa: E402

BOUND = 1e-5
COPIES = "PP2 x EP2 x FSDP2 with copies, 8 ranks"
LAYOUTS: dict[str, dict[str, Any]] = {
    "PP2 x EP2 x FSDP2, 8 ranks": {"pp": 2, "shard": 4, "ep": 2},
    COPIES: {"pp": 2, "shard": 4, "ep": 2, "layout": {"slotsPerRank": 5}},
    "interleaved PP2 x 2 x EP2, 4 ranks": {"pp": 2, "shard": 2, "ep": 2, "vpp": 2},
    "EP2 x FSDP2, accumulation 2, 4 ranks": {"shard": 4, "ep": 2},
    "replicate 2 x FSDP2, 4 ranks": {"replicate": 2, "shard": 2},
}


def moving(spec: Spec, model: str, steps: int) -> list[tuple[float, float]]:
    """Loss and gradient norm of `steps` steps in which experts and copies move."""
    engine = Engine.build(spec, config=tiny.config(model))
    results = []
    for step in range(steps):
        if step % 5 == 4:
            draw = random.Random(step)
            halves = [draw.sample(range(8), 8) for _ in range(2)]
            table = [*halves[0], *[e for e in halves[1] if e not in halves[0][5:]][:2]]
            relocate.move(engine, {str(layer): table for layer in range(1, 4)}, dist.group.WORLD)
        results.append(engine.train_step(*worlds.rows(engine, step)))
    return [(result.loss, result.grad_norm) for result in results]


def main() -> int:
    """Prints the table; 1 when a row is over the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=["v4", "v3", "qwen3moe", "qwen3"])
    parser.add_argument("--only", default="", help="layouts whose name holds this text")
    chosen = parser.parse_args()
    worst = 0.0
    for model in chosen.models:
        (alone,) = worlds.run(1, worlds.train, tiny.spec(), model, chosen.steps)
        for name, layout in LAYOUTS.items():
            if chosen.only not in name or (name == COPIES and model in ("qwen3", "llama")):
                continue
            if model in ("qwen3", "llama"):
                layout = {**layout, "ep": 1}
            spec = tiny.spec(**layout)
            started = time.perf_counter()
            task = moving if name == COPIES else worlds.train
            losses = worlds.run(spec.layout.world, task, spec, model, chosen.steps)[0]
            seconds = time.perf_counter() - started
            gap = max(abs(a - b) / abs(a) for (a, _), (b, _) in zip(alone, losses, strict=True))
            norm = max(abs(a - b) / abs(a) for (_, a), (_, b) in zip(alone, losses, strict=True))
            worst = max(worst, gap)
            print(f"{model:9} {name:38} loss {gap:.2e}  gradient norm {norm:.2e}  {seconds:5.1f} s", flush=True)
    print(f"largest relative difference of the loss over {chosen.steps} steps: {worst:.2e} (bound {BOUND:.0e})")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
