"""From a checkpoint of any layout to a Hugging Face folder, byte for byte the same for the same weights.

Pieces are stored by logical name and place, so the layout that saved them does not matter here. Tensors are laid out in
name order, cut into shards by size, and read shard by shard: memory never holds more than one shard. Layers of
multi-token prediction go in under `mtp.`, names that the plain class ignores and Tessera reads again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tessera_engine import checkpoint, hf
from tessera_engine.errors import EngineError
from tessera_engine.hub import read_tool_spec
from tessera_engine.pieces import Block, Piece
from tessera_engine.process import emit
from tessera_engine.spec import read_config
from tessera_engine.storage import RawReader

SHARD_BYTES = 4 << 30
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
)


@dataclass(frozen=True)
class Entry:
    """One tensor on disk: `name` there, and the part of logical tensor `source` it is (`start`, `shape`)."""

    name: str
    source: str
    start: tuple[int, ...]
    shape: tuple[int, ...]
    drop: int  # leading dimensions of size one to leave out: an expert's own matrix has none for the expert
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def entries_of(path: Path, config: Any, dtype: torch.dtype, keep_fp32: re.Pattern[str] | None) -> list[Entry]:
    """What an export of the checkpoint holds, in name order. Floating-point weights become `dtype`."""
    found = []
    for key, stored in RawReader(path).read_metadata().state_dict_metadata.items():
        if not key.startswith("model/"):
            continue
        name, size, kind = key.removeprefix("model/"), tuple(stored.size), stored.properties.dtype
        wide = keep_fp32 is not None and keep_fp32.search(name) is not None
        kind = dtype if kind.is_floating_point and not wide else kind
        matrices = hf.expert_names(config, name, 0)
        if not matrices or not hf.EXPERT.match(name):
            found.append(Entry(hf.disk_name(config, name), key, (0,) * len(size), size, 0, kind))
            continue
        for expert in range(size[0]):
            rows = size[1] // len(matrices)
            for i, disk in enumerate(hf.expert_names(config, name, expert)):
                start = (expert, i * rows, *[0] * (len(size) - 2))
                found.append(Entry(disk, key, start, (1, rows, *size[2:]), 1, kind))
    return sorted(found, key=lambda entry: _natural(entry.name))


def shards_of(entries: list[Entry], limit: int) -> list[list[Entry]]:
    """Entries in order, cut before the shard would pass `limit` bytes; a larger tensor has a shard of its own."""
    shards: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if shards[-1] and size + entry.bytes > limit:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.bytes
    return shards


def read_shard(path: Path, entries: list[Entry]) -> dict[str, torch.Tensor]:
    """The tensors of one shard by disk name."""
    stored = RawReader(path).read_metadata().state_dict_metadata
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.source, []).append(entry)
    state: checkpoint.State = {}
    for source, parts in grouped.items():
        whole: Any = stored[source]
        buffer = torch.empty((len(parts), *parts[0].shape[1:]) if parts[0].drop else parts[0].shape,
                             dtype=whole.properties.dtype)  # fmt: skip
        blocks = tuple(Block(p.start, p.shape, i if p.drop else None) for i, p in enumerate(parts))
        state[source] = Piece.of(buffer, source, tuple(whole.size), blocks)
    checkpoint.load(path, state, None)
    tensors = {}
    for source, parts in grouped.items():
        piece: Any = state[source]
        for i, part in enumerate(parts):
            tensor = piece.local[i] if part.drop else piece.local
            tensors[part.name] = tensor.to(part.dtype).contiguous().clone()
    return tensors


def export(
    source: Path, model: Path, out: Path, shard_bytes: int = SHARD_BYTES, store: str | None = None
) -> dict[str, Any]:
    """Writes the folder `out` and returns the result line's fields. `out` appears complete or not at all.

    `store`: dtype of the weights on disk when it is not the one they were trained in; the config names the trained one.
    """
    manifest = checkpoint.verify(source)
    config = read_config(str(model))
    name = str(manifest.facts.get("param", "float32"))
    entries = entries_of(source, config, getattr(torch, store or name), _fp32_of(config))
    shards = shards_of(entries, shard_bytes)
    temporary = out.parent / f".{out.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weight_map: dict[str, str] = {}
    total = sum(entry.bytes for entry in entries)
    for number, part in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(read_shard(source, part), str(temporary / file), metadata={"format": "pt"})
        weight_map |= {entry.name: file for entry in part}
        emit({"kind": "progress", "done": number, "total": len(shards)})
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (temporary / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    settings = json.loads((model / "config.json").read_text())
    settings.pop("torch_dtype", None)
    settings["dtype"] = name
    (temporary / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    for file in TOKENIZER_FILES:
        if (model / file).is_file():
            shutil.copyfile(model / file, temporary / file)
    _publish(temporary, out)
    return {"out": str(out), "step": manifest.step, "tensors": len(entries), "shards": len(shards), "bytes": total}


def main(arguments: list[str]) -> int:
    """`export SPEC` {"checkpoint", "model", "out", "maxShardBytes"?, "dtype"?}: progress lines and a result line."""
    try:
        spec = read_tool_spec(arguments, "checkpoint", "model", "out")
        started = time.monotonic()
        limit = int(spec.get("maxShardBytes", SHARD_BYTES))
        result = export(Path(spec["checkpoint"]), Path(spec["model"]), Path(spec["out"]), limit, spec.get("dtype"))
        emit({"kind": "result", **result, "seconds": time.monotonic() - started})
        return 0
    except EngineError as error:
        emit({"kind": "fatal", **error.describe()})
        return error.exit_code
    except OSError as error:
        emit({"kind": "fatal", "code": "ENGINE_EXPORT_WRITE", "message": str(error), "file": error.filename})
        return 3


def _publish(temporary: Path, out: Path) -> None:
    for path in temporary.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    temporary.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which layer 10 follows layer 9."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _fp32_of(config: Any) -> re.Pattern[str] | None:
    """Names that the model's class keeps in float32 whatever the dtype, as a pattern."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    names: set[str] = set()
    for attribute in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
        names |= set(getattr(kind, attribute, None) or ())
    return re.compile("|".join(rf"(^|\.){re.escape(n)}(\.|$)" for n in sorted(names))) if names else None
