"""Greedy answers to a file of prompts, batched over prompts of different lengths without padding.

Padding would shift a model whose attention compresses aligned windows of absolute positions (DeepSeek-V4), so rows
start together at position 0 instead. The batch is prefilled to its shortest prompt; from there all rows step together,
a row inside its prompt being fed its own next token, a row past it the token it chose. Prompts are sorted by length, so
few steps are spent inside prompts. A row therefore sees exactly the positions and the cache of a run on its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tessera_engine.errors import EngineError
from tessera_engine.hub import json_lines, load_model, load_tokenizer, replacing, tool
from tessera_engine.process import emit

# Rows that are done leave the batch once they are at least this share of it (a copy of the cache is not free).
COMPACT_SHARE = 0.25


@dataclass
class Row:
    """One prompt on its way: token ids of prompt and answer, and whether it ended by itself."""

    index: int
    prompt: list[int]
    answer: list[int]
    finished: bool = False


@torch.inference_mode()
def generate_batch(model: Any, rows: list[Row], limit: int, stops: list[list[int]]) -> int:
    """Fills `answer` and `finished` of `rows` greedily, at most `limit` tokens each; returns the passes made."""
    device = next(model.parameters()).device
    shortest = min(len(row.prompt) for row in rows)
    live, passes = list(rows), 1
    output = model(
        input_ids=torch.tensor([row.prompt[:shortest] for row in live], device=device),
        use_cache=True,
        logits_to_keep=1,
    )
    cache, position = output.past_key_values, shortest
    while True:
        chosen = output.logits[:, -1].argmax(-1).tolist()
        fed: list[int] = []
        for row, token in zip(live, chosen, strict=True):
            if position < len(row.prompt):
                fed.append(row.prompt[position])
                continue
            fed.append(token)
            if not row.finished and len(row.answer) < limit:
                row.answer.append(token)
                row.finished = any(row.answer[-len(stop) :] == stop for stop in stops)
        open_rows = [i for i, row in enumerate(live) if not row.finished and len(row.answer) < limit]
        if not open_rows:
            return passes
        if len(live) - len(open_rows) >= max(1, COMPACT_SHARE * len(live)):
            cache.reorder_cache(torch.tensor(open_rows, device=device))
            live, fed = [live[i] for i in open_rows], [fed[i] for i in open_rows]
        output = model(input_ids=torch.tensor(fed, device=device)[:, None], past_key_values=cache, use_cache=True)
        position, passes = position + 1, passes + 1


def batches(rows: list[Row], size: int) -> Iterator[list[Row]]:
    """Rows sorted by prompt length, in batches of at most `size`."""
    ordered = sorted(rows, key=lambda row: (len(row.prompt), row.index))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def main(arguments: list[str]) -> int:
    """`generate SPEC`: progress lines and a result line on stdout; answers in the order of the prompts in `out`."""
    return tool(_run, arguments, "model", "prompts", "out")


def _run(spec: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(spec["model"])
    prompts = list(json_lines(spec["prompts"]))
    rows = []
    for index, (line, prompt) in enumerate(prompts):
        if not isinstance(prompt.get("prompt"), str) or "id" not in prompt:
            message = f"{spec['prompts']}:{line}: a prompt needs id and prompt"
            raise EngineError("ENGINE_INPUT", message, file=spec["prompts"], line=line)
        ids = tokenizer.encode(prompt["prompt"], add_special_tokens=bool(spec.get("addSpecialTokens", False))).ids
        if not ids:
            message = f"{spec['prompts']}:{line}: empty prompt"
            raise EngineError("ENGINE_INPUT", message, file=spec["prompts"], line=line)
        rows.append(Row(index, ids, []))
    model = load_model(spec["model"])
    ends = [tokenizer.encode(spec["stop"], add_special_tokens=False).ids] if spec.get("stop") else []
    eos = model.generation_config.eos_token_id
    stops = ends + [[i] for i in (eos if isinstance(eos, list) else [eos]) if i is not None]
    limit, started, done, passes = int(spec.get("maxNewTokens", 256)), time.monotonic(), 0, 0
    for batch in batches(rows, int(spec.get("batch", 64))):
        passes += generate_batch(model, batch, limit, stops)
        done += len(batch)
        emit({"kind": "progress", "done": done, "total": len(rows), "seconds": time.monotonic() - started})
    with replacing(spec["out"]) as out:
        for row, (_, prompt) in zip(rows, prompts, strict=True):
            end = next((len(s) for s in stops if row.finished and row.answer[-len(s) :] == s), 0)
            text = tokenizer.decode(row.answer[: len(row.answer) - end], skip_special_tokens=False)
            answer = {"id": prompt["id"], "text": text, "tokens": len(row.answer), "finished": row.finished}
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
    counts = {"prompts": len(rows), "tokens": sum(len(row.answer) for row in rows), "passes": passes}
    emit({"kind": "result", **counts, "seconds": time.monotonic() - started, "out": spec["out"]})
