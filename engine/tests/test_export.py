"""Checkpoints of any layout export to the same bytes, those of safetensors' own writer, which the plain class loads.

The export itself is TypeScript (`src/run/checkpoint`); it knows names and formats only from what the engine saved.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import worlds
from agents import Attempt, Zygote, model_folder, write_spec
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import config, spec
from transformers import AutoModelForCausalLM

from tessera_engine import checkpoint, hf, manifest, relocate
from tessera_engine.engine import Engine
from tessera_engine.generate import Row, generate_batch
from tessera_engine.hub import load_model, load_tokenizer
from tessera_engine.manifest import Manifest
from tessera_engine.spec import Spec
from tessera_engine.storage import RawReader

ROOT = Path(__file__).resolve().parents[2]
ONE_RANK = {"pp": 1, "dpShard": 1, "ep": 1, "stages": None}
SCRIPT = """
import { exportCheckpoint } from "./src/run/index.ts";
const { code, ...done } = await exportCheckpoint(JSON.parse(process.argv[1])).catch((error) => error);
console.log(JSON.stringify({ code, ...done }));
"""


def export(source: Path, model: Path, out: Path, **options: Any) -> Any:
    """What `exportCheckpoint` returns, or the `code` it throws with its `params`."""
    asked = json.dumps({"checkpoint": str(source), "model": str(model), "out": str(out), **options})
    command = [str(ROOT / "node_modules/.bin/node"), "--input-type=module", "-e", SCRIPT, asked]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def expected(source: Path, model: Any, limit: int, dtype: torch.dtype) -> dict[str, bytes]:
    """Weight files by name: whole tensors by the plain reader, cut by hand, written by safetensors' own writer."""
    kind = AutoModelForCausalLM._model_mapping[type(model)]
    keep = {*(kind._keep_in_fp32_modules or ()), *(kind._keep_in_fp32_modules_strict or ())}
    tensors: dict[str, torch.Tensor] = {}
    for key, stored in RawReader(source).read_metadata().state_dict_metadata.items():
        name = key.removeprefix("model/")
        if name == key:
            continue
        whole: Any = stored
        loaded = {key: torch.empty(whole.size, dtype=whole.properties.dtype)}
        checkpoint.load(source, loaded, None)
        same = not loaded[key].is_floating_point() or any(f".{kept}." in f".{name}." for kept in keep)
        tensor = loaded[key] if same else loaded[key].to(dtype)
        if not hf.EXPERT.match(name):
            tensors[hf.disk_name(model, name)] = tensor
            continue
        for expert, matrices in enumerate(tensor):
            names = hf.expert_names(model, name, expert)
            tensors |= dict(zip(names, matrices.chunk(len(names)), strict=True))

    def order(name: str) -> list[Any]:
        return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in re.findall(r"\d+|\D+", name)]

    files: list[dict[str, torch.Tensor]] = [{}]
    for name in sorted(tensors, key=order):
        if files[-1] and sum(t.nbytes for t in files[-1].values()) + tensors[name].nbytes > limit:
            files.append({})
        files[-1][name] = tensors[name].contiguous().clone()
    found = {}
    for number, file in enumerate(files, 1):
        path = source.parent / "expected.safetensors"
        save_file(file, str(path), metadata={"format": "pt"})
        found[f"model-{number:05d}-of-{len(files):05d}.safetensors"] = path.read_bytes()
    return found if len(files) > 1 else {"model.safetensors": next(iter(found.values()))}


def save(wanted: Spec, name: str, folder: str) -> None:
    """Two steps with experts moved between them, and a checkpoint."""
    engine = Engine.build(wanted, config=config(name))
    for step in range(2):
        engine.train_step(*worlds.rows(engine, step))
        if step == 0 and wanted.layout.ep > 1 and wanted.layout.slots_per_rank is None:
            relocate.move(engine, {"2": random.Random(2).sample(range(8), 8)}, dist.group.WORLD)
    saver = checkpoint.Saver(Path(folder), 1, dist.new_group(backend="gloo"), hf.on_disk(engine.family.config))
    facts = {"param": wanted.precision.param}
    saver.begin(engine.state_dict(), Manifest("run", 2, 2, [], {}, engine.placement(), "spec", facts))
    saved = saver.finish()
    assert saved is not None and saved.error is None, saved


COPIES = {"layout": {"slotsPerRank": 6}}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("v4", {"pp": 2, "ep": 2, "shard": 4}),
    ("v4", {"precision": {"param": "bfloat16", "reduce": "float32"}}),
    ("v3", {"ep": 2, "shard": 4, "precision": {"param": "bfloat16", "reduce": "float32"}}),
    ("v3", {"ep": 2, "shard": 2, **COPIES}),
    ("qwen3moe", {"pp": 2, "ep": 2, "shard": 2, **COPIES}),
    ("qwen3moe", {"ep": 4, "shard": 4}),
    ("glm4moe", {"pp": 2, "replicate": 2}),
    ("gptoss", {"ep": 2, "shard": 2}),
]


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_the_bytes_are_those_of_safetensors(name: str, layout: dict[str, Any], tmp_path: Path) -> None:
    wanted, model = spec(**layout), config(name)
    worlds.run(wanted.layout.world, save, wanted, name, str(tmp_path / "saved"))
    source = manifest.published(tmp_path / "saved")[0][1]
    model.save_pretrained(tmp_path / "model")
    trained = wanted.precision.param
    for store, limit in ((None, 100_000), ("bfloat16", 1 << 30), ("float32", 1 << 30)):
        more = {} if store is None else {"dtype": store}
        out = tmp_path / f"out-{store}"
        done = export(source, tmp_path / "model", out, maxShardBytes=limit, **more)
        files = expected(source, model, limit, getattr(torch, store or trained))
        assert contents(out, "*.safetensors") == files and done["shards"] == len(files)
        settings = json.loads((tmp_path / "model/config.json").read_text()) | {"dtype": trained}
        settings.pop("torch_dtype", None)
        assert (out / "config.json").read_text() == json.dumps(settings, indent=2, sort_keys=True) + "\n"
        index = out / "model.safetensors.index.json"
        if len(files) > 1:
            assert index.read_text() == json.dumps(json.loads(index.read_text()), indent=2, sort_keys=True) + "\n"


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


def contents(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def test_two_layouts_give_the_same_bytes(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, four, one = made
    assert checkpoint.verify(four).layout != checkpoint.verify(one).layout
    first = export(four, model, tmp_path / "a", maxShardBytes=200_000)
    export(one, model, tmp_path / "b", maxShardBytes=200_000)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    names = sorted(contents(tmp_path / "a"))
    assert first["shards"] > 3 and f"model-00001-of-{first['shards']:05d}.safetensors" in names
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"} <= set(names)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_plain_class_computes_what_was_trained(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, four, _ = made
    export(four, model, tmp_path / "out")
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
    export(four, model, out)
    row = Row(0, load_tokenizer(str(out)).encode("maximise", add_special_tokens=False).ids, [])
    generate_batch(load_model(str(out)), [row], 4, [])
    assert len(row.answer) == 4
    stored = json.loads((out / "config.json").read_text())
    assert stored["dtype"] == "float32"
    with safe_open(str(out / "model.safetensors"), framework="pt") as file:
        assert any(key.startswith("mtp.0.") for key in file.keys())  # noqa: SIM118


def test_a_damaged_checkpoint_is_not_exported(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, four, _ = made
    copy = tmp_path / "step-00000003"
    shutil.copytree(four, copy)
    file = copy / "rank-2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    failed = export(copy, model, tmp_path / "out")
    assert failed["code"] == "RUN_CHECKPOINT_DAMAGED" and failed["params"]["path"] == str(file)
    assert not (tmp_path / "out").exists()
