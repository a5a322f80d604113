"""Each family in our stages against its Hugging Face class, loss and every gradient, in one process."""

from __future__ import annotations

from typing import Any

import pytest
import worlds
from tiny import config, spec

from tessera_engine.engine import Engine
from tessera_engine.errors import EngineError
from tessera_engine.hf import EXPERT
from tessera_engine.parallel import local_of

PLAIN = {"moe": {}, "mtp": {}, "indexer": {}}


def against_class(name: str, recompute: str) -> tuple[float, dict[str, float]]:
    """|loss difference|, and per parameter the largest gradient difference over the largest gradient."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    engine = Engine.build(spec(micro=8, layout={"recompute": recompute}, **PLAIN), config=config(name))
    ids, labels = worlds.rows(engine, 0)
    plain = config(name)
    plain._attn_implementation = "eager"
    plain._experts_implementation = "eager"
    twin: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(plain)](plain)
    state = {n: piece.local for n, (_, piece) in engine.pieces().items()} | engine.buffers()
    twin.load_state_dict(state, strict=False)
    missing = [n for n, _ in twin.named_parameters() if n not in state and n != "lm_head.weight"]
    assert not missing, missing
    engine.backward(ids, labels)
    _, sums = engine.reduce(engine.pieces())
    loss = twin(input_ids=ids, labels=labels).loss
    loss.backward()
    twins, gaps = dict(twin.named_parameters()), {}
    for n, (parameter, _) in engine.pieces().items():
        wanted = twins[n].grad
        if wanted is None:
            assert ".indexer." in n
            continue
        gaps[n] = float((local_of(parameter.grad) - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
    return abs(sums[0] - float(loss)), gaps


@pytest.mark.parametrize("name", ["v4", "v3", "qwen3moe", "qwen3", "llama", "mixtral", "gptoss", "glm4moe"])
def test_stage_equals_the_class(name: str) -> None:
    ((loss, gaps),) = worlds.run(1, against_class, name, "none")
    assert loss < 5e-6
    assert max(gaps.values()) < 2e-3, sorted(gaps.items(), key=lambda g: -g[1])[:5]
    assert any(EXPERT.match(n) for n in gaps) == (name not in ("qwen3", "llama"))


def test_recomputation_changes_no_gradient() -> None:
    ((loss, gaps),) = worlds.run(1, against_class, "v4", "full")
    assert loss < 5e-6
    assert max(gaps.values()) < 2e-3


def without_gradient(changes: dict[str, Any]) -> list[str]:
    engine = Engine.build(spec(micro=8, **changes), config=config("v4"))
    return engine.parameters_without_gradient(*worlds.rows(engine, 0))


def test_full_parameter_means_every_parameter() -> None:
    assert worlds.run(1, without_gradient, {}) == [[]]


def test_an_indexer_without_its_objective_is_named() -> None:
    (names,) = worlds.run(1, without_gradient, {"indexer": {}})
    assert names and all(".indexer." in n for n in names)


def test_what_the_recipe_froze_is_not_named() -> None:
    assert worlds.run(1, without_gradient, {"indexer": {}, "freeze": ["*.indexer.*"]}) == [[]]


def refusal() -> str:
    from transformers import GPT2Config

    try:
        Engine.build(spec(), config=GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=32))
    except EngineError as error:
        return error.code
    return "built"


def test_an_unsplittable_class_is_refused() -> None:
    assert worlds.run(1, refusal) == ["ENGINE_MODEL_FAMILY"]
