"""Records real routing: trains a small mixture-of-experts language model on text of this machine, writes its loads and choices.

    python bench/experts/record.py OUT_FOLDER [--kind v3|qwen3|v4] [--steps 400]

Two thirds of the steps train on all kinds of text (as in pre-training), the rest, with the bias frozen, on the second kinds only (as in
supervised fine-tuning). Every second file is for training, every fourth for the plan, every fourth held out from both. Writes
- loads.ndjson: a line a step, as `tessera balance` reads it;
- trace.ndjson: a line a layer, the choices of the finished model on whole samples of `length` tokens: first of the files for the plan,
  then, from token `held` on, of the held-out ones. `tessera balance --trace` and bench/experts/coactivation.ts read it.
It is a small model: what it shows is the method on real routing, not the numbers of a large one.
"""

import argparse
import collections
import glob
import json
import os
import pathlib
import random
import re

import torch
from torch import nn
from torch.nn import functional as F

DIM, HIDDEN, LENGTH, VOCABULARY, SAMPLES = 128, 32, 128, 3072, 3072
# Experts, top-k and router of the family; fewer experts than the large ones have, in the same proportion to top-k or nearly so.
KINDS = {"v3": (64, 8, "sigmoid"), "qwen3": (128, 8, "softmax"), "v4": (96, 6, "sqrtsoftplus")}
PIECE = re.compile(r" ?[A-Za-z]+| ?[0-9]|[一-鿿]|\s+|[^\sA-Za-z0-9]")
FIRST = ["/usr/lib/python3*/*.py", "/usr/share/doc/**/README*", "/usr/share/perl/**/*.pm", "node_modules/**/*.md"]
SECOND = [
    "node_modules/**/*.md",
    "node_modules/*/lib/**/*.js",
    "/usr/lib/python3*/**/*.py",
    "docs/zh/*.md",
    "docs/en/*.md",
    "/usr/include/**/*.h",
    "node_modules/**/*.d.ts",
    "/usr/share/**/*.txt",
]


class Experts(nn.Module):
    """Top-k router and gated experts, one always on. Keeps counts [experts], choices [tokens, k] of the last forward."""

    def __init__(self, experts: int, k: int, score: str) -> None:
        super().__init__()
        self.experts, self.k, self.score = experts, k, score
        self.router = nn.Linear(DIM, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts + 1, DIM, HIDDEN) * DIM**-0.5)
        self.down = nn.Parameter(torch.randn(experts + 1, HIDDEN, DIM) * HIDDEN**-0.5)
        self.register_buffer("bias", torch.zeros(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, DIM)
        logits = self.router(flat)
        score = {
            "sigmoid": logits.sigmoid,
            "softmax": lambda: logits.softmax(-1),
            "sqrtsoftplus": lambda: F.softplus(logits).sqrt(),
        }[self.score]()
        self.chosen = (score + self.bias).topk(self.k, dim=-1).indices
        self.counts = torch.bincount(self.chosen.flatten(), minlength=self.experts)
        share = self.counts / self.counts.sum()
        self.balance = self.experts * (share * (score / score.sum(-1, keepdim=True)).mean(0)).sum()
        weight = score.gather(-1, self.chosen)
        weight = weight / weight.sum(-1, keepdim=True)
        order = self.chosen.flatten().argsort(stable=True)
        rows = order // self.k
        # Unbound once: indexing each expert would make a gradient of the whole parameter for each.
        ups, downs = self.up.unbind(0), self.down.unbind(0)
        parts = flat[rows].split(self.counts.tolist())
        out = torch.cat([F.silu(part @ ups[e]) @ downs[e] for e, part in enumerate(parts)])
        shared = F.silu(flat @ ups[-1]) @ downs[-1]
        return shared.index_add(0, rows, out * weight.flatten()[order, None]).view_as(x)


class Block(nn.Module):
    def __init__(self, *experts) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.first, self.second = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.experts = Experts(*experts)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False, is_causal=True)[0]
        return x + self.experts(self.second(x))


def read(patterns: list[str], most: int = 8_000_000) -> list[str]:
    """Beginnings of files that match, drawn at random, the same share of each pattern: many files make a fair split."""
    texts = []
    for pattern in patterns:
        room = most // len(patterns)
        paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        random.Random(17).shuffle(paths)
        for path in paths:
            if room > 0:
                texts.append(pathlib.Path(path).read_text(errors="ignore")[:1_500])
                room -= len(texts[-1])
    return texts


def samples_of(texts: list[str], known: dict[str, int]) -> list[torch.Tensor]:
    """[samples, LENGTH + 1] token ids of each text that fills one; a sample never crosses texts."""
    out = []
    for text in texts:
        ids: list[int] = []
        for piece in PIECE.findall(text):
            ids += [known[piece]] if piece in known else piece.encode()
        count = len(ids) // (LENGTH + 1)
        if count:
            out.append(torch.tensor(ids[: count * (LENGTH + 1)]).view(count, LENGTH + 1))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--kind", choices=KINDS, default="v3")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--first", nargs="+", default=FIRST)
    parser.add_argument("--second", nargs="+", default=SECOND)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(17)
    torch.set_num_threads(1)
    experts, k, score = KINDS[options.kind]
    texts = {name: read(patterns) for name, patterns in (("first", options.first), ("second", options.second))}
    if min(sum(map(len, part)) for part in texts.values()) < 100 * LENGTH:
        raise SystemExit("too little text: name more files with --first and --second")
    pieces = collections.Counter(piece for part in texts.values() for text in part for piece in PIECE.findall(text))
    known = {piece: 256 + i for i, (piece, _) in enumerate(pieces.most_common(VOCABULARY - 256))}
    trained = {name: samples_of([t for i, t in enumerate(part) if i % 2], known) for name, part in texts.items()}
    scanned, held = (torch.cat(samples_of(texts["second"][first::4], known)) for first in (2, 0))
    batches = {name: torch.cat(part) for name, part in trained.items()}
    embed, head = nn.Embedding(VOCABULARY, DIM), nn.Linear(DIM, VOCABULARY)
    blocks = nn.ModuleList(Block(experts, k, score) for _ in range(options.layers))
    model = nn.ModuleList([embed, head, blocks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    turn = options.steps * 2 // 3

    def forward(ids: torch.Tensor) -> torch.Tensor:
        x = embed(ids)
        for block in blocks:
            x = block(x, mask)
        return x

    with (options.out / "loads.ndjson").open("w") as loads:
        for step in range(options.steps):
            data = batches["first" if step < turn else "second"]
            if step < turn and step % 2:
                data = batches["second"]
            ids = data[torch.randint(0, len(data), (16,))]
            loss = F.cross_entropy(head(forward(ids[:, :-1])).flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            (loss + (1e-3 if score == "softmax" else 1e-4) * sum(block.experts.balance for block in blocks)).backward()
            optimizer.step()
            counts = [block.experts.counts for block in blocks]
            if step < turn and score != "softmax":
                for block, count in zip(blocks, counts, strict=True):
                    block.experts.bias += 1e-3 * (count.float().mean() - count).sign()
            row = {
                "step": step,
                "loss": round(loss.item(), 4),
                "layers": {str(i): c.tolist() for i, c in enumerate(counts)},
            }
            loads.write(json.dumps(row) + "\n")
            if step % 100 == 0:
                print(f"step {step}, loss {loss.item():.3f}", flush=True)
    # The pre-scan, samples of all files in random order: SAMPLES for the plan and half as many to measure it on.
    seen = scanned[torch.randperm(len(scanned))[:SAMPLES]]
    unseen = held[torch.randperm(len(held))[: SAMPLES // 2]]
    chosen: list[list[torch.Tensor]] = [[] for _ in blocks]
    with torch.no_grad():
        for ids in torch.cat([seen, unseen]).split(16):
            forward(ids[:, :-1])
            for row, block in zip(chosen, blocks, strict=True):
                row.append(block.experts.chosen)
    with (options.out / "trace.ndjson").open("w") as out:
        for layer, parts in enumerate(chosen):
            shape = {"layer": layer, "experts": experts, "k": k, "length": LENGTH, "held": len(seen) * LENGTH}
            out.write(json.dumps({**shape, "chosen": torch.cat(parts).flatten().tolist()}) + "\n")
    print(f"{options.steps} steps, last loss {loss.item():.3f}: {options.out}/loads.ndjson, {options.out}/trace.ndjson")


if __name__ == "__main__":
    main()
