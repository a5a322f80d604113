"""Losses of parallel layouts against one process, same weights and rows: `python engine/bench/parity.py [--steps 20]`.

Prints, per model family and layout, the largest relative difference of the loss over all steps. The bound is 1e-5.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ENGINE), str(ENGINE / "tests")]

import tiny  # noqa: E402
import worlds  # noqa: E402

BOUND = 1e-5
LAYOUTS = {
    "PP2 x EP2 x FSDP2, 8 ranks": {"pp": 2, "shard": 4, "ep": 2},
    "interleaved PP2 x 2 x EP2, 4 ranks": {"pp": 2, "shard": 2, "ep": 2, "vpp": 2},
    "EP2 x FSDP2, accumulation 2, 4 ranks": {"shard": 4, "ep": 2},
    "replicate 2 x FSDP2, 4 ranks": {"replicate": 2, "shard": 2},
}


def main() -> int:
    """Prints the table; 1 when a row is over the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--models", nargs="*", default=["v4", "v3", "qwen3moe", "qwen3"])
    chosen = parser.parse_args()
    worst = 0.0
    for model in chosen.models:
        (alone,) = worlds.run(1, worlds.train, tiny.spec(), model, chosen.steps)
        for name, layout in LAYOUTS.items():
            if model in ("qwen3", "llama"):
                layout = {**layout, "ep": 1}
            spec = tiny.spec(**layout)
            started = time.perf_counter()
            losses = worlds.run(spec.layout.world, worlds.train, spec, model, chosen.steps)[0]
            seconds = time.perf_counter() - started
            gap = max(abs(a - b) / abs(a) for (a, _), (b, _) in zip(alone, losses, strict=True))
            norm = max(abs(a - b) / abs(a) for (_, a), (_, b) in zip(alone, losses, strict=True))
            worst = max(worst, gap)
            print(f"{model:9} {name:38} loss {gap:.2e}  gradient norm {norm:.2e}  {seconds:5.1f} s", flush=True)
    print(f"largest relative difference of the loss over {chosen.steps} steps: {worst:.2e} (bound {BOUND:.0e})")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
