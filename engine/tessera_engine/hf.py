"""Hugging Face folders: names on disk, and streaming reads in which a rank touches only bytes of its own pieces.

Our logical names are those of the Hugging Face classes. On disk experts are one matrix each
(`experts.7.up_proj.weight`) where the class has one fused tensor, and DeepSeek-V4 has names of its own. `disk_name`
says what an export writes, which is what `save_pretrained` writes; reading also accepts
the names DeepSeek publishes and fused tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tessera_engine.errors import EngineError
from tessera_engine.pieces import Block, Piece

EXPERT = re.compile(r"^(.*\.experts)\.(gate_up_proj|down_proj|up_proj)$")
V4_RULES: tuple[tuple[str, str], ...] = (
    (r"^lm_head\.", "head."),
    (r"^(mtp\.\d+)\.layer\.", r"\1."),
    (r"^(mtp\.\d+)\.hc_head\.", r"\1.hc_head_"),
    (r"\.hc_head_hc_", ".hc_head_"),
    (r"\.self_attn\.compressor\.indexer\.scorer\.", ".attn.indexer."),
    (r"\.self_attn\.compressor\.indexer\.q_b_proj\.", ".attn.indexer.wq_b."),
    (r"\.self_attn\.compressor\.indexer\.", ".attn.indexer.compressor."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.", ".ffn."),
    (r"\.q_a_proj\.", ".wq_a."),
    (r"\.q_a_norm\.", ".q_norm."),
    (r"\.q_b_proj\.", ".wq_b."),
    (r"\.shared_experts\.gate_proj\.", ".shared_experts.w1."),
    (r"\.shared_experts\.down_proj\.", ".shared_experts.w2."),
    (r"\.shared_experts\.up_proj\.", ".shared_experts.w3."),
    (r"\.kv_proj\.", ".wkv."),
    (r"\.gate_proj\.", ".wgate."),
    (r"\.kv_norm\.", ".norm."),
    (r"\.o_([ab])_proj\.", r".wo_\1."),
    (r"\.sinks$", ".attn_sink"),
    (r"\.position_bias$", ".ape"),
    (r"\.gate\.e_score_correction_bias$", ".gate.bias"),
    (r"\.input_layernorm\.", ".attn_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.(attn|ffn)_hc\.", r".hc_\1_"),
)


def disk_name(config: Any, name: str) -> str:
    """Name that an export gives a dense tensor.

    "model.layers.0.self_attn.q_a_proj.weight" is "model.layers.0.attn.wq_a.weight" for deepseek_v4.
    """
    if config.model_type == "deepseek_v4":
        for pattern, new in V4_RULES:
            name = re.sub(pattern, new, name)
        return name
    match = re.match(r"^mtp\.(\d+)\.(layer\.)?(.*)$", name)
    if match:
        rest = match[3] if match[2] or match[3].startswith(("e", "h")) else f"shared_head.{match[3]}"
        return f"model.layers.{config.num_hidden_layers + int(match[1])}.{rest}"
    return name


def expert_names(config: Any, name: str, expert: int | str) -> list[str]:
    """Names on disk of one expert's part of a fused tensor, in the order in which their rows stand in it.

    gate_up_proj is two matrices on disk (gate first), down_proj one. Empty when `name` is no fused expert tensor.
    """
    match = EXPERT.match(name)
    if match is None:
        return []
    v4 = config.model_type == "deepseek_v4"
    leaves = {
        "gate_up_proj": ("w1", "w3") if v4 else ("gate_proj", "up_proj"),
        "down_proj": ("w2",) if v4 else ("down_proj",),
        "up_proj": ("up_proj",),
    }[match[2]]
    return [f"{disk_name(config, match[1] + '.')}{expert}.{leaf}.weight" for leaf in leaves]


def on_disk(config: Any) -> Callable[[str], dict[str, Any]]:
    """What a checkpoint's index says of a logical tensor so that an export needs no knowledge of models.

    `names` on disk, with {} for the expert where each has matrices of its own (`expert_names`); `keep` when the model's
    class computes with it in float32 whatever the dtype.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    wide: set[str] = set()
    for attribute in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
        wide |= set(getattr(kind, attribute, None) or ())
    pattern = "|".join(rf"(^|\.){re.escape(name)}(\.|$)" for name in sorted(wide))

    def describe(key: str) -> dict[str, Any]:
        if not key.startswith("model/"):
            return {}
        name = key.removeprefix("model/")
        names = expert_names(config, name, "{}") or [disk_name(config, name)]
        return {"names": names} | ({"keep": True} if pattern and re.search(pattern, name) else {})

    return describe


def read_names(config: Any, name: str) -> list[str]:
    """Names under which a dense tensor may be found, best first."""
    first = disk_name(config, name)
    published = re.sub(r"^model\.", "", first)
    published = re.sub(r"^embed_tokens\.", "embed.", published).replace("hc_head.hc_", "hc_head_")
    names = [first, name, published, published.replace(".attn.norm.", ".attn.kv_norm.")]
    if name == "lm_head.weight" and getattr(config, "tie_word_embeddings", False):
        names += read_names(config, "model.embed_tokens.weight")
    return list(dict.fromkeys(names))


class Folder:
    """A Hugging Face folder of safetensors, opened lazily; nothing is read but the slices asked for."""

    def __init__(self, path: str) -> None:
        self.path, self._open = Path(path), dict[str, Any]()
        index, single = self.path / "model.safetensors.index.json", self.path / "model.safetensors"
        try:
            if index.is_file():
                self.files: dict[str, str] = json.loads(index.read_text())["weight_map"]
            elif single.is_file():
                self.files = dict.fromkeys(self._file(single.name).keys(), single.name)
            else:
                raise EngineError("ENGINE_WEIGHTS_MISSING", f"no safetensors in {path}", file=path)
        except (ValueError, KeyError) as error:
            raise EngineError("ENGINE_WEIGHTS_DAMAGED", f"cannot read {index}: {error}", file=str(index)) from error

    def _file(self, name: str) -> Any:
        if name not in self._open:
            path = str(self.path / name)
            try:
                self._open[name] = safe_open(path, framework="pt")
            except FileNotFoundError as error:
                raise EngineError("ENGINE_WEIGHTS_MISSING", f"no {path}", file=path) from error
            except (SafetensorError, OSError) as error:
                raise EngineError("ENGINE_WEIGHTS_DAMAGED", f"cannot read {path}: {error}", file=path) from error
        return self._open[name]

    def find(self, names: list[str]) -> str | None:
        """The first of `names` that is there."""
        return next((name for name in names if name in self.files), None)

    def rows(self, name: str, shape: tuple[int, ...], start: int, stop: int) -> torch.Tensor:
        """Rows [start, stop) of a tensor that must have `shape`."""
        file = str(self.path / self.files[name])
        handle = self._file(self.files[name]).get_slice(name)
        if tuple(handle.get_shape()) != shape:
            found = f"{name} is {handle.get_shape()}, not {list(shape)}"
            raise EngineError("ENGINE_WEIGHTS_SHAPE", found, file=file, tensor=name)
        if handle.get_dtype() not in ("F32", "BF16", "F16", "F64", "I64", "I32"):
            message = f"{name} is stored as {handle.get_dtype()}: convert the folder to bfloat16 first"
            raise EngineError("ENGINE_WEIGHTS_DTYPE", message, file=file, tensor=name)
        try:
            return handle[start:stop]
        except (SafetensorError, OSError) as error:
            raise EngineError(
                "ENGINE_WEIGHTS_DAMAGED", f"cannot read {name}: {error}", file=file, tensor=name
            ) from error


def read_piece(folder: Folder, config: Any, name: str, piece: Piece) -> bool:
    """Fills a piece from disk; False when the folder has nothing of that name."""
    for block in piece.blocks:
        found = _read_block(folder, config, name, piece.whole, block)
        if found is None:
            return False
        piece.at(block).copy_(found)
    return True


def _read_block(folder: Folder, config: Any, name: str, whole: tuple[int, ...], block: Block) -> torch.Tensor | None:
    source = folder.find(read_names(config, name))
    start, stop = block.offsets[0], block.offsets[0] + block.sizes[0]
    if source is not None:
        rows = folder.rows(source, whole, start, stop)
        return rows if block.slot is None else rows[:, block.offsets[1] : block.offsets[1] + block.sizes[1]]
    names = expert_names(config, name, block.offsets[0])
    plain = [re.sub(r"^model\.", "", n) for n in names]
    names = names if names and names[0] in folder.files else plain
    if not names or any(n not in folder.files for n in names):
        return None
    each = whole[1] // len(names)
    first, last, parts = block.offsets[1], block.offsets[1] + block.sizes[1], []
    for i, part in enumerate(names):
        a, b = max(first - i * each, 0), min(last - i * each, each)
        if a < b:
            parts.append(folder.rows(part, (each, *whole[2:]), a, b))
    return torch.cat(parts).unsqueeze(0)
