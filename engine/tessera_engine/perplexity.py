"""How surprised a model is by packed rows: the negative log-likelihood of every labelled token, summed per row.

With `trace`, also which experts every token chose, as `tessera balance --trace` reads it.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import torch
import torch.nn.functional as F

from tessera_engine.data import PackedData
from tessera_engine.hub import load_model, replacing, tool
from tessera_engine.process import emit

IGNORED = -100


@torch.inference_mode()
def row_losses(model: Any, input_ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(nll sum in nats float64 [n], labelled tokens int64 [n]) of rows int64 [n, s]; labels align with inputs."""
    device = next(model.parameters()).device
    logits = model(input_ids=input_ids.to(device), use_cache=False).logits[:, :-1].float()
    wanted = labels[:, 1:].to(device)
    losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(wanted.shape).double().sum(1).cpu(), (wanted != IGNORED).sum(1).cpu()


class Choices:
    """What the routers of `model` choose from now on, in the order of the rows, by layer."""

    def __init__(self, model: Any) -> None:
        self.layers: dict[int, list[torch.Tensor]] = {}
        self.experts = 0
        for name, module in model.named_modules():
            if name.endswith(".experts"):
                chosen, self.experts = self.layers.setdefault(int(re.findall(r"\d+", name)[0]), []), module.num_experts
                module.register_forward_pre_hook(lambda _, given, keep=chosen.append: keep(given[1].short().cpu()))

    def write(self, path: str, length: int) -> list[int]:
        """A line a layer; returns those left out: tokens may choose an expert twice there (tables of token ids)."""
        left = []
        with replacing(path) as out:
            for layer, parts in self.layers.items():
                chosen = torch.cat(parts).view(-1, parts[0].shape[-1])
                ranked = chosen.sort(-1).values
                if bool((ranked[:, 1:] == ranked[:, :-1]).any()):
                    left.append(layer)
                    continue
                line = {"layer": layer, "experts": self.experts, "k": chosen.shape[1], "length": length}
                out.write(json.dumps({**line, "chosen": chosen.flatten().tolist()}, separators=(",", ":")) + "\n")
        return left


def main(arguments: list[str]) -> int:
    """`perplexity SPEC`: one JSON line a row {row, nll, tokens} in `out`, totals in the result line; `rows`: some."""
    return tool(_run, arguments, "model", "data", "out")


def _run(spec: dict[str, Any]) -> None:
    data = PackedData(spec["data"], None, global_batch=int(spec.get("batch", 8)), seed=0)
    model = load_model(spec["model"])
    data.check_vocabulary(model.config.vocab_size)
    choices = Choices(model) if spec.get("trace") else None
    wanted = spec.get("rows", range(data.rows))
    started, total, count = time.monotonic(), 0.0, 0
    with replacing(spec["out"]) as out:
        for start in range(0, len(wanted), data.global_batch):
            numbers = wanted[start : start + data.global_batch]
            rows = data.take(numbers)
            sums, tokens = row_losses(model, rows.input_ids, rows.labels)
            for row, nll, n in zip(numbers, sums.tolist(), tokens.tolist(), strict=True):
                out.write(json.dumps({"row": row, "nll": nll, "tokens": n}) + "\n")
                total, count = total + nll, count + n
            done, seconds = start + len(numbers), time.monotonic() - started
            emit({"kind": "progress", "done": done, "total": len(wanted), "seconds": seconds})
    left = choices.write(spec["trace"], data.length) if choices else []
    emit({"kind": "result", "rows": len(wanted), "nll": total, "tokens": count, "out": spec["out"], "left": left})
