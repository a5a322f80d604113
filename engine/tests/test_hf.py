"""Hugging Face folders: names both ways, sharded reads, damage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import worlds
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import config, spec

from tessera_engine import hf
from tessera_engine.engine import Engine
from tessera_engine.errors import EngineError
from tessera_engine.pieces import Piece


def class_of(name: str) -> Any:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    torch.manual_seed(1)
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config(name))](config(name))
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith("tid2eid"):
            buffer.copy_(torch.rand(buffer.shape[0], 8).argsort(1)[:, : buffer.shape[1]])
        elif buffer_name.endswith("correction_bias"):
            buffer.uniform_()
    return model


def compare(folder: str, name: str, layout: dict[str, Any]) -> list[str]:
    """Names whose pieces differ from the class that wrote the folder; MTP names that were drawn are left out."""
    wanted = spec(**layout, model={"config": folder, "init": "hf", "weights": folder})
    engine = Engine.build(wanted)
    truth = dict(class_of(name).state_dict())
    wrong = []
    for key, piece in engine.state_dict().items():
        group, _, title = key.partition("/")
        assert isinstance(piece, Piece)
        if group != "model" or title.startswith("mtp."):
            continue
        for block in piece.blocks:
            part = truth[title][tuple(slice(o, o + n) for o, n in zip(block.offsets, block.sizes, strict=True))]
            if not torch.equal(piece.at(block), part):
                wrong.append(title)
    return wrong


@pytest.mark.parametrize("name", ["v4", "v3", "qwen3moe", "qwen3"])
def test_every_rank_reads_its_pieces(name: str, tmp_path: Path) -> None:
    class_of(name).save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    layout = {"shard": 4, "ep": 2} if name != "qwen3" else {"shard": 4}
    assert worlds.run(4, compare, str(tmp_path), name, layout) == [[]] * 4
    assert worlds.run(1, compare, str(tmp_path), name, {}) == [[]]


@pytest.mark.parametrize("name", ["v4", "v3", "qwen3moe"])
def test_names_are_those_that_save_pretrained_writes(name: str, tmp_path: Path) -> None:
    model = class_of(name)
    model.save_pretrained(tmp_path)
    with safe_open(str(tmp_path / "model.safetensors"), "pt") as file:
        written = set(file.keys())
    ours: set[str] = set()
    for title in model.state_dict():
        experts = [n for e in range(8) for n in hf.expert_names(model.config, title, e)]
        ours |= set(experts or [hf.disk_name(model.config, title)])
    assert ours == written


def test_published_v4_names_are_found(tmp_path: Path) -> None:
    class_of("v4").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    renamed = {}
    for key, tensor in tensors.items():
        key = key.removeprefix("model.").replace("embed_tokens.", "embed.").replace("hc_head.hc_", "hc_head_")
        renamed[key.replace(".attn.norm.", ".attn.kv_norm.")] = tensor
    save_file(renamed, tmp_path / "model.safetensors")
    assert worlds.run(1, compare, str(tmp_path), "v4", {}) == [[]]


def write_mtp(folder: str) -> None:
    """Adds this engine's MTP weights to a folder under their names on disk."""
    engine = Engine.build(spec(model={"config": folder, "init": "hf", "weights": folder}))
    tensors = load_file(f"{folder}/model.safetensors")
    for key, piece in engine.state_dict().items():
        title = key.removeprefix("model/")
        assert isinstance(piece, Piece)
        if not title.startswith("mtp."):
            continue
        names = [hf.expert_names(engine.family.config, title, e) for e in range(8)]
        if names[0]:
            for expert, parts in enumerate(names):
                chunks = piece.local[expert].chunk(len(parts))
                tensors |= {n: c.contiguous().clone() for n, c in zip(parts, chunks, strict=True)}
        else:
            tensors[hf.disk_name(engine.family.config, title)] = piece.local.clone()
    save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})


def read_mtp(folder: str, seed: int) -> tuple[list[str], float]:
    """What a build with another seed had to draw, and the sum of its MTP weights."""
    engine = Engine.build(spec(model={"config": folder, "init": "hf", "weights": folder}, seed=seed))
    total = sum(float(p.local.double().sum()) for n, (_, p) in engine.pieces().items() if n.startswith("mtp."))
    return engine.load_weights(), total


@pytest.mark.parametrize("name", ["v4", "v3"])
def test_mtp_weights_travel_beside_the_class(name: str, tmp_path: Path) -> None:
    class_of(name).save_pretrained(tmp_path)
    ((drawn, first),) = worlds.run(1, read_mtp, str(tmp_path), 3)
    assert drawn and all(n.startswith("mtp.") for n in drawn)
    worlds.run(1, write_mtp, str(tmp_path))
    assert worlds.run(1, read_mtp, str(tmp_path), 99) == [([], first)]
    model = type(class_of(name)).from_pretrained(tmp_path)
    assert torch.equal(model.lm_head.weight, class_of(name).lm_head.weight)


def code_of(folder: str) -> str:
    try:
        Engine.build(spec(model={"config": folder, "init": "hf", "weights": folder}))
    except EngineError as error:
        return error.code
    return "fine"


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("none", "fine"),
        ("cut", "ENGINE_WEIGHTS_DAMAGED"),
        ("gone", "ENGINE_WEIGHTS_MISSING"),
        ("shape", "ENGINE_WEIGHTS_SHAPE"),
        ("tensor", "ENGINE_WEIGHTS_MISSING"),
        ("float8", "ENGINE_WEIGHTS_DTYPE"),
        ("config", "ENGINE_MODEL_CONFIG"),
        ("folder", "ENGINE_MODEL_MISSING"),
    ],
)
def test_damage_is_named(damage: str, code: str, tmp_path: Path) -> None:
    class_of("qwen3moe").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    if damage == "gone":
        file.unlink()
    if damage == "shape":
        tensors["model.norm.weight"] = torch.ones(63)
    if damage == "tensor":
        del tensors["model.layers.2.mlp.experts.3.up_proj.weight"]
    if damage == "float8":
        tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.float8_e4m3fn)
    if damage in ("shape", "tensor", "float8"):
        save_file(tensors, file)
    if damage == "config":
        (tmp_path / "config.json").write_text("{")
    if damage == "folder":
        shutil.rmtree(tmp_path)
    assert worlds.run(1, code_of, str(tmp_path)) == [code]
