"""Free memory of a node, and the refusal of ranks whose plan needs more than there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from agents import Attempt, Zygote, model_folder, write_spec

from tessera_engine.errors import EngineError
from tessera_engine.memory import check_memory, free_memory

CPU = torch.device("cpu")


def test_free_memory_is_what_the_agent_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MEMORY", "15000/400000")
    assert free_memory(CPU) == {"free": 15000, "total": 400000}
    monkeypatch.delenv("TESSERA_MEMORY")
    alone = free_memory(CPU)
    assert alone["free"] == alone["total"] > 1 << 30


def test_ranks_of_a_node_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = free_memory(CPU)["free"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check_memory(free // 2, CPU, 0)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(EngineError) as caught:
        check_memory(free // 2, CPU, 3, "layout.recompute: full (1.00 GiB)")
    facts = caught.value.describe()
    assert facts["code"] == "ENGINE_MEMORY"
    assert (facts["rank"], facts["sharing"], facts["needed"]) == (3, 4, free // 2)
    assert facts["free"] < facts["needed"]
    assert "recompute" in facts["lighter"]


def test_a_rank_that_needs_too_much_ends_before_it_builds(tmp_path: Path) -> None:
    zygote = Zygote()
    try:
        base = model_folder(tmp_path / "model")
        needed = [1 << 50] * 4
        spec = write_spec(tmp_path, base, memory={"needed": needed, "lighter": "batch.microBatch: 1"})
        attempt = Attempt(zygote, tmp_path, spec, 4)
        assert set(attempt.wait().values()) == {3}, attempt.logs()
        fatal = [json.loads(line) for line in attempt.logs().splitlines() if '"kind": "fatal"' in line]
        assert {one["code"] for one in fatal} == {"ENGINE_MEMORY"}
        assert all(one["needed"] == 1 << 50 and 0 < one["free"] < 1 << 50 for one in fatal)
    finally:
        zygote.end()
