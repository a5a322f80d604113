"""How surprised a model is by packed rows: the negative log-likelihood of every labelled token, summed per row."""

from __future__ import annotations

import json
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


def main(arguments: list[str]) -> int:
    """`perplexity SPEC`: one JSON line a row {row, nll, tokens} in `out`, totals in the result line."""
    return tool(_run, arguments, "model", "data", "out")


def _run(spec: dict[str, Any]) -> None:
    data = PackedData(spec["data"], None, global_batch=int(spec.get("batch", 8)), seed=0)
    model = load_model(spec["model"])
    data.check_vocabulary(model.config.vocab_size)
    started, total, count = time.monotonic(), 0.0, 0
    with replacing(spec["out"]) as out:
        for start in range(0, data.rows, data.global_batch):
            rows = data.take(range(start, min(start + data.global_batch, data.rows)))
            sums, tokens = row_losses(model, rows.input_ids, rows.labels)
            for offset, (nll, n) in enumerate(zip(sums.tolist(), tokens.tolist(), strict=True)):
                out.write(json.dumps({"row": start + offset, "nll": nll, "tokens": n}) + "\n")
                total, count = total + nll, count + n
            done = min(start + data.global_batch, data.rows)
            emit({"kind": "progress", "done": done, "total": data.rows, "seconds": time.monotonic() - started})
    emit({"kind": "result", "rows": data.rows, "nll": total, "tokens": count, "out": spec["out"]})
