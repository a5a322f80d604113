"""Batched answers equal answers given alone, with and without the cache, and the tools' files."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import folders
import pytest
import torch
from safetensors.torch import save_file

from tessera_engine.generate import Row, batches, generate_batch
from tessera_engine.hub import load_model
from tessera_engine.perplexity import row_losses

ENGINE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.v4_folder(tmp_path_factory.mktemp("model"))


def prompts(count: int, shortest: int, longest: int) -> list[list[int]]:
    generator = random.Random(5)
    return [[generator.randrange(95) for _ in range(generator.randint(shortest, longest))] for _ in range(count)]


def test_batched_equals_alone_and_equals_no_cache(folder: Path) -> None:
    model = load_model(str(folder))
    asked = prompts(10, 3, 48)
    together = [Row(i, prompt, []) for i, prompt in enumerate(asked)]
    for batch in batches(together, 5):
        generate_batch(model, batch, 16, [[7]])
    for row in together:
        alone = Row(0, row.prompt, [])
        generate_batch(model, [alone], 16, [[7]])
        assert alone.answer == row.answer and alone.finished == row.finished
    for row in together[::4]:
        ids = list(row.prompt)
        while len(ids) < len(row.prompt) + len(row.answer):
            with torch.inference_mode():
                ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert ids[len(row.prompt) :] == row.answer
    assert len({tuple(row.answer) for row in together}) > 5, "the test needs answers that differ"
    assert any(row.finished for row in together) and any(not row.finished for row in together)


def test_equals_the_generate_of_transformers(folder: Path) -> None:
    model = load_model(str(folder))
    for prompt in prompts(2, 5, 40):
        row = Row(0, prompt, [])
        generate_batch(model, [row], 12, [])
        expected = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
        assert expected[0, len(prompt) :].tolist() == row.answer


def run_tool(tool: str, tmp_path: Path, spec: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    file = tmp_path / f"{tool}.json"
    file.write_text(json.dumps(spec))
    command = [sys.executable, "-m", "tessera_engine", tool, str(file)]
    done = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_tool_answers_in_order_and_stops_at_the_stop_token(folder: Path, tmp_path: Path) -> None:
    asked = [{"id": f"p{i}", "prompt": "x" * (1 + i % 5) + str(i)} for i in range(12)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(p) + "\n" for p in asked))
    spec = {
        "model": str(folder),
        "prompts": str(tmp_path / "in.jsonl"),
        "out": str(tmp_path / "out.jsonl"),
        "maxNewTokens": 16,
        "batch": 4,
        "stop": "A",
    }
    code, lines = run_tool("generate", tmp_path, spec)
    assert code == 0 and lines[-1]["kind"] == "result" and lines[-1]["prompts"] == 12
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [p["id"] for p in asked]
    for answer in answers:
        assert "A" not in answer["text"]
        assert answer["finished"] == (len(answer["text"]) < answer["tokens"])


def test_bad_input_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "prompt": "a"}\nnot json\n')
    spec = {"model": str(folder), "prompts": str(tmp_path / "in.jsonl"), "out": str(tmp_path / "out.jsonl")}
    code, lines = run_tool("generate", tmp_path, spec)
    assert code == 3 and lines[-1]["code"] == "ENGINE_INPUT" and lines[-1]["line"] == 2
    assert not (tmp_path / "out.jsonl").exists()
    code, lines = run_tool("generate", tmp_path, {**spec, "model": str(tmp_path)})
    assert code == 3 and lines[-1]["code"] == "ENGINE_TOKENIZER"


def test_perplexity_of_rows_matches_the_class_loss(folder: Path, tmp_path: Path) -> None:
    model = load_model(str(folder))
    torch.manual_seed(3)
    ids = torch.randint(0, 95, (5, 32))
    labels = torch.where(torch.rand(5, 32) < 0.5, ids, -100)
    sums, tokens = row_losses(model, ids, labels)
    with torch.inference_mode():
        expected = model(input_ids=ids, labels=labels).loss.item()
    assert abs(sums.sum().item() / int(tokens.sum()) - expected) < 1e-4
    save_file({"input_ids": ids.int(), "labels": labels.int()}, str(tmp_path / "rows.safetensors"))
    spec = {"model": str(folder), "data": str(tmp_path / "rows.safetensors"), "out": str(tmp_path / "out"), "batch": 2}
    code, lines = run_tool("perplexity", tmp_path, spec)
    written = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert code == 0 and [w["tokens"] for w in written] == tokens.tolist()
    assert lines[-1]["tokens"] == int(tokens.sum()) and abs(lines[-1]["nll"] - sums.sum().item()) < 1e-3


def test_a_scan_writes_what_the_routers_choose(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    ids = torch.randint(0, 95, (5, 32))
    save_file({"input_ids": ids.int(), "labels": ids.int()}, str(tmp_path / "rows.safetensors"))
    spec = {"model": str(folder), "data": str(tmp_path / "rows.safetensors"), "out": str(tmp_path / "out"), "batch": 2}

    def scan(rows: list[int]) -> tuple[dict[str, Any], dict[int, torch.Tensor]]:
        code, lines = run_tool("perplexity", tmp_path, {**spec, "rows": rows, "trace": str(tmp_path / "trace")})
        found = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
        assert code == 0 and all((one["experts"], one["k"], one["length"]) == (8, 2, 32) for one in found)
        return lines[-1], {one["layer"]: torch.tensor(one["chosen"]).view(len(rows), 32, 2) for one in found}

    result, three = scan([4, 1, 3])
    assert (result["rows"], sorted([*three, *result["left"]])) == (3, [0, 1, 2, 3])
    model = load_model(str(folder))
    if 0 in three:
        assert torch.equal(three[0], model.model.layers[0].mlp.gate.tid2eid[ids[[4, 1, 3]]])
    # A gate gives (logits, weights, indices): a learned layer chose what its own gate says.
    seen: list[torch.Tensor] = []
    model.model.layers[2].mlp.gate.register_forward_hook(lambda _, given, out: seen.append(out[2]))
    with torch.inference_mode():
        model(input_ids=ids[[4]], use_cache=False)
    assert torch.equal(three[2][0], seen[0].view(32, 2))
    assert torch.equal(scan([1])[1][3][0], three[3][1])
