"""Records real routing: trains a small mixture-of-experts byte model on text of this machine, writes its loads and choices.

    python bench/experts/record.py OUT_FOLDER [--steps 300] [--files 'GLOB' ...]

Two thirds of the steps train with the auxiliary-free bias moving (as in pre-training) on one kind of text, the rest with the bias
frozen on another (as in supervised fine-tuning). Writes loads.ndjson (a line a step, as `tessera balance` reads it) and
trace.ndjson (a line a layer, the choices of the last steps, as bench/experts/coactivation.ts reads it). It is a small model: what it
shows is the method on real routing, not the numbers of a large one.
"""

import argparse
import glob
import json
import os
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

EXPERTS, TOP_K, DIM, HIDDEN, LAYERS, LENGTH = 64, 6, 96, 48, 3, 128


class Experts(nn.Module):
    """Sigmoid router with a selection bias, 64 experts, top 6. Keeps counts [experts] and choices [tokens, 6] of the last forward."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(DIM, EXPERTS, bias=False)
        self.up = nn.Parameter(torch.randn(EXPERTS, DIM, HIDDEN) * DIM**-0.5)
        self.down = nn.Parameter(torch.randn(EXPERTS, HIDDEN, DIM) * HIDDEN**-0.5)
        self.register_buffer("bias", torch.zeros(EXPERTS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, DIM)
        score = self.router(flat).sigmoid()
        self.chosen = (score + self.bias).topk(TOP_K, dim=-1).indices
        self.counts = torch.bincount(self.chosen.flatten(), minlength=EXPERTS)
        weight = score.gather(-1, self.chosen)
        weight = weight / weight.sum(-1, keepdim=True)
        order = self.chosen.flatten().argsort(stable=True)
        rows = order // TOP_K
        parts = flat[rows].split(self.counts.tolist())
        out = torch.cat([F.silu(part @ self.up[e]) @ self.down[e] for e, part in enumerate(parts)])
        return torch.zeros_like(flat).index_add(0, rows, out * weight.flatten()[order, None]).view_as(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.first, self.second = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.experts = Experts()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False, is_causal=True)[0]
        return x + self.experts(self.second(x))


def text_of(patterns: list[str], most: int = 8_000_000) -> torch.Tensor:
    data = bytearray()
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)}):
        if os.path.isfile(path) and len(data) < most:
            data += pathlib.Path(path).read_bytes()[:200_000]
    if len(data) < 10 * LENGTH:
        raise SystemExit(f"too little text under {patterns}")
    return torch.frombuffer(data, dtype=torch.uint8).long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--first", nargs="+", default=["/usr/lib/python3*/*.py", "/usr/share/doc/**/*"])
    parser.add_argument("--second", nargs="+", default=["node_modules/**/*.md", "docs/zh/*.md"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(17)
    torch.set_num_threads(1)
    embed, head = nn.Embedding(256, DIM), nn.Linear(DIM, 256)
    blocks = nn.ModuleList(Block() for _ in range(LAYERS))
    model = nn.ModuleList([embed, head, blocks])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    texts = [text_of(options.first), text_of(options.second)]
    turn, kept = options.steps * 2 // 3, max(2, options.steps // 12)
    traces: list[list[torch.Tensor]] = [[] for _ in range(LAYERS)]
    with (options.out / "loads.ndjson").open("w") as loads:
        for step in range(options.steps):
            text = texts[step >= turn]
            at = torch.randint(0, len(text) - LENGTH - 1, (16,))
            ids = torch.stack([text[i : i + LENGTH + 1] for i in at.tolist()])
            x = embed(ids[:, :-1])
            for block in blocks:
                x = block(x, mask)
            loss = F.cross_entropy(head(x).flatten(0, 1), ids[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            counts = [block.experts.counts for block in blocks]
            if step < turn:
                for block, count in zip(blocks, counts, strict=True):
                    block.experts.bias += 1e-3 * (count.float().mean() - count).sign()
            if step >= options.steps - kept:
                for trace, block in zip(traces, blocks, strict=True):
                    trace.append(block.experts.chosen)
            row = {"step": step, "loss": round(loss.item(), 4), "layers": {str(i): c.tolist() for i, c in enumerate(counts)}}
            loads.write(json.dumps(row) + "\n")
    with (options.out / "trace.ndjson").open("w") as out:
        for layer, trace in enumerate(traces):
            chosen = torch.cat(trace).flatten().tolist()
            out.write(json.dumps({"layer": layer, "experts": EXPERTS, "k": TOP_K, "chosen": chosen}) + "\n")
    print(f"{options.steps} steps, last loss {loss.item():.3f}: {options.out}/loads.ndjson, {options.out}/trace.ndjson")


if __name__ == "__main__":
    main()
