"""Does moving experts change a bit? Training with random moves against the same training without, to the last bit.

    python engine/bench/relocation.py [--steps 1000] [--folder DIR]

Tiny DeepSeek-V4 (PP2 x EP2, with an MTP layer) and DeepSeek-V3 (EP2 x FSDP2) of two layers, all with experts, on four
ranks. Before a third of the steps, two layers get a random placement; weights and moments travel. Every chunk of steps
ends with a checkpoint that the next one loads into the default placement. Prints the verdict over all losses, gradient
norms, weights and moments. With `--folder` a run that was cut short (`--minutes`) goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ENGINE), str(ENGINE / "tests")]

import tiny  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402
import worlds  # noqa: E402
from test_bits import digest  # noqa: E402

from tessera_engine import relocate  # noqa: E402
from tessera_engine.engine import Engine  # noqa: E402
from tessera_engine.spec import Spec  # noqa: E402

LAYOUTS = {"v4": {"pp": 2, "ep": 2, "shard": 2}, "v3": {"ep": 2, "shard": 4}}
SMALL: dict[str, dict[str, Any]] = {
    "v4": {
        "num_hidden_layers": 2, "layer_types": ["sliding_attention", "compressed_sparse_attention"],
        "mlp_layer_types": ["hash_moe", "moe"],
    },
    "v3": {"num_hidden_layers": 2, "first_k_dense_replace": 0, "num_nextn_predict_layers": 0},
}  # fmt: skip
MOVE_SHARE = 1 / 3


def train(spec: Spec, model: str, first: int, last: int, moving: bool, folder: str) -> dict[str, Any]:
    """Steps first ... last - 1 from the checkpoint in `folder`; what the run was, as hashes."""
    engine = Engine.build(spec, config=tiny.config(model, **SMALL[model]))
    if first:
        dcp.load(engine.state_dict(), checkpoint_id=f"{folder}/{first}")
        engine.resume(first)
    lines, moves, sent, seconds = [], 0, 0, 0.0
    layers = range(2 + engine.family.mtp_depth)
    for step in range(first, last):
        draw = random.Random(f"{model}{step}")
        if moving and draw.random() < MOVE_SHARE:
            placement = {str(layer): draw.sample(range(8), 8) for layer in draw.sample(layers, 2)}
            moved = relocate.move(engine, placement, dist.group.WORLD)
            moves, sent, seconds = moves + 1, sent + moved.bytes, seconds + moved.seconds
        result = engine.train_step(*worlds.rows(engine, step))
        lines.append((result.loss.hex(), result.grad_norm.hex()))
    dcp.save(engine.state_dict(), checkpoint_id=f"{folder}/{last}")
    steps = hashlib.sha256(repr(lines).encode()).hexdigest()
    return {
        "digests": [steps, digest(engine)], "moves": moves, "bytes": sent, "moveSeconds": seconds, "loss": result.loss,
    }  # fmt: skip


def main() -> int:
    """Prints a line a chunk and the verdict; 1 when a bit differs, 2 when time ran out first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=125)
    parser.add_argument("--models", nargs="*", default=list(LAYOUTS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--minutes", type=float, default=1e9)
    asked = parser.parse_args()
    limit = time.monotonic() + asked.minutes * 60
    with tempfile.TemporaryDirectory(prefix="tessera-relocation-") as name:
        base = asked.folder or Path(name)
        good = [verdict(model, asked.steps, asked.chunk, base, limit) for model in asked.models]
    return 2 if None in good else 0 if all(good) else 1


def verdict(model: str, steps: int, chunk: int, base: Path, limit: float) -> bool | None:
    """Runs what is left of one model's two runs and compares all chunks; None when `limit` came first."""
    spec = tiny.spec(**LAYOUTS[model], steps=steps, batch={"sequenceLength": 32, "microBatch": 1, "globalBatch": 4})
    runs: dict[bool, list[dict[str, Any]]] = {}
    for first in range(0, steps, chunk):
        for moving in (False, True):
            last, folder = min(first + chunk, steps), base / f"{model}-{'moved' if moving else 'still'}"
            file = folder / f"{first}-{last}.json"
            if not file.exists():
                if time.monotonic() > limit:
                    print(f"{model}: {first} of {steps} steps done; start again with the same folder", flush=True)
                    return None
                folder.mkdir(parents=True, exist_ok=True)
                started = time.perf_counter()
                found = worlds.run(4, train, spec, model, first, last, moving, str(folder))
                whole = {**found[0], "bytes": sum(rank["bytes"] for rank in found)}
                whole["seconds"] = time.perf_counter() - started
                file.write_text(json.dumps(whole))
            runs.setdefault(moving, []).append(json.loads(file.read_text()))
    still, moved = runs[False], runs[True]
    equal = [a["digests"] for a in still] == [b["digests"] for b in moved]
    moves, sent = sum(part["moves"] for part in moved), sum(part["bytes"] for part in moved)
    seconds, wall = sum(part["moveSeconds"] for part in moved), sum(part["seconds"] for part in moved)
    print(
        f"{model}: {steps} steps, {moves} moves of {sent / 1e6:.1f} MB in {seconds:.1f} s of {wall:.1f} s; losses, "
        f"norms, weights and moments {'EQUAL to the bit' if equal else 'DIFFER'}; last loss {moved[-1]['loss']:.6f}",
        flush=True,
    )
    return equal


if __name__ == "__main__":
    sys.exit(main())
