"""Checkpoints of two layouts export to the same bytes, which the plain class loads with the same logits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from agents import Attempt, Zygote, model_folder, write_spec
from transformers import AutoModelForCausalLM

from tessera_engine import checkpoint, export, manifest
from tessera_engine.errors import EngineError
from tessera_engine.generate import Row, generate_batch
from tessera_engine.hub import load_model, load_tokenizer

ONE_RANK = {"pp": 1, "dpShard": 1, "ep": 1, "stages": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Path]]:
    """A model folder, a checkpoint trained on four ranks, and the same state saved again by one rank."""
    folder = tmp_path_factory.mktemp("export")
    model = model_folder(folder / "model")
    zygote = Zygote()

    def train(name: str, world: int, **changes: Any) -> Path:
        where = folder / name
        attempt = Attempt(zygote, where, write_spec(where, model, steps=3, **changes), world)
        assert set(attempt.wait().values()) == {0}, attempt.logs()
        return manifest.published(where / "checkpoints")[0][1]

    four = train("four", 4)
    one = train("one", 1, layout=ONE_RANK, checkpoint={"resume": str(four), "dir": str(folder / "one/checkpoints")})
    yield model, four, one
    zygote.end()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_layouts_give_the_same_bytes(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, four, one = made
    assert checkpoint.verify(four).layout != checkpoint.verify(one).layout
    first = export.export(four, model, tmp_path / "a", 200_000)
    export.export(one, model, tmp_path / "b", 200_000)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    names = sorted(contents(tmp_path / "a"))
    assert first["shards"] > 3 and f"model-00001-of-{first['shards']:05d}.safetensors" in names
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"} <= set(names)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_plain_class_computes_what_was_trained(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, four, _ = made
    export.export(four, model, tmp_path / "out")
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values()), info
    base = AutoModelForCausalLM.from_pretrained(model)
    state: checkpoint.State = {}
    with torch.no_grad():
        for name, tensor in [*base.named_parameters(), *base.named_buffers()]:
            if not name.endswith("inv_freq"):
                state[f"model/{name}"] = tensor.detach()
        ids = torch.arange(80).view(2, 40)
        before = base(input_ids=ids).logits.clone()
        checkpoint.load(four, state, None)
        trained = base(input_ids=ids).logits
        assert torch.equal(loaded(input_ids=ids).logits, trained) and not torch.equal(before, trained)


def test_an_export_is_a_base_for_more(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Tokenizer and generation work from it, and its MTP layer is read again by the engine's own names."""
    model, four, _ = made
    out = tmp_path / "out"
    export.export(four, model, out)
    row = Row(0, load_tokenizer(str(out)).encode("maximise", add_special_tokens=False).ids, [])
    generate_batch(load_model(str(out)), [row], 4, [])
    assert len(row.answer) == 4
    stored = json.loads((out / "config.json").read_text())
    assert stored["dtype"] == "float32"
    from safetensors import safe_open

    with safe_open(str(out / "model.safetensors"), framework="pt") as file:
        assert any(key.startswith("mtp.0.") for key in file.keys())  # noqa: SIM118


def test_a_damaged_checkpoint_is_not_exported(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import shutil

    model, four, _ = made
    copy = tmp_path / "step-00000003"
    shutil.copytree(four, copy)
    file = copy / "rank-2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(EngineError) as caught:
        export.export(copy, model, tmp_path / "out")
    assert caught.value.facts["file"] == str(file) and not (tmp_path / "out").exists()
