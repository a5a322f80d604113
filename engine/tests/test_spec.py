"""The worker spec: what it refuses, by name, and the tables made from it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tiny import spec

from tessera_engine.errors import EngineError
from tessera_engine.optim import bias_rate, learning_rate
from tessera_engine.spec import Layout, Moe, Optimizer, Spec, slots_of, stage_split

GOOD: dict[str, Any] = {
    "model": {"config": "/m"},
    "batch": {"sequenceLength": 8, "microBatch": 1, "globalBatch": 4},
    "optimizer": {"learningRate": 1e-3},
}


def test_reads_json_names_and_keeps_defaults() -> None:
    read = Spec.of({**GOOD, "layout": {"pp": 2, "dpShard": 2, "ep": 2}, "precision": {"param": "bfloat16"}})
    assert read.layout.world == 4
    assert read.layout.efsdp == 1
    assert read.micro_batches == 2
    assert read.precision.param == "bfloat16"
    assert read.optimizer.betas == (0.9, 0.95)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"learningrate": 1}, "learningrate"),
        ({"optimizer": {"learningRate": "fast"}}, "optimizer.learningRate"),
        ({"optimizer": {}}, "optimizer.learningRate"),
        ({"layout": {"ep": 1.5}}, "layout.ep"),
        ({"layout": {"ep": True}}, "layout.ep"),
        ({"layout": {"schedule": "zbv"}}, "layout.schedule"),
        ({"layout": {"stages": [[0, "1"]]}}, "layout.stages[0][1]"),
        ({"precision": {"param": "fp4"}}, "precision.param"),
        ({"moe": {"biasSchedule": "cosine"}}, "moe.biasSchedule"),
        ({"moe": {"biasLastFraction": 0}}, "moe.biasLastFraction"),
        ({"batch": 3}, "batch"),
        ({"optimizer": {"learningRate": 1, "betas": [0.9]}}, "optimizer.betas"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(EngineError) as found:
        Spec.of({**GOOD, **changes})
    assert (found.value.code, found.value.facts["field"]) == ("ENGINE_SPEC_FIELD", where)


@pytest.mark.parametrize(
    "layout",
    [
        {"dpShard": 4, "ep": 3},
        {"tp": 2},
        {"dpShard": 3},
        {"pp": 0},
        {"vpp": 2},
        {"pp": 2, "vpp": 2},
        {"pp": 2, "vpp": 2, "schedule": "interleaved1f1b", "dpShard": 4},
        {"pp": 2, "stages": [[0], [1], [2]]},
    ],
)
def test_an_impossible_layout_is_refused(layout: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as found:
        Spec.of({**GOOD, "layout": layout})
    assert found.value.code == "ENGINE_LAYOUT"


def test_stage_split() -> None:
    assert stage_split(Layout(pp=2, vpp=2), 6) == ((0, 1), (2,), (3, 4), (5,))
    assert stage_split(Layout(pp=2, stages=((0,), (1, 2))), 3) == ((0,), (1, 2))
    for stages in (((0,), (2, 1)), ((0, 1), (1, 2)), ((0,), (1,))):
        with pytest.raises(EngineError):
            stage_split(Layout(pp=2, stages=stages), 3)


def test_slot_tables() -> None:
    assert slots_of(None, 0, 4, 4, 2) == [0, 1, 2, 3]
    assert slots_of(None, 0, 4, 6, 2) == [0, 1, 2, 3, 0, 1]
    assert slots_of({"1": [3, 2, 1, 0]}, 1, 4, 4, 2) == [3, 2, 1, 0]
    for table in ([0, 1, 2], [0, 0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 9]):
        with pytest.raises(EngineError):
            slots_of({"0": table}, 0, 4, 4, 2)
    with pytest.raises(EngineError):
        slots_of({"0": [0, 0, 1, 2, 3, 1]}, 0, 4, 6, 2)


def test_learning_rate_curve() -> None:
    curve = [learning_rate(Optimizer(1.0, warmup_steps=4, min_ratio=0.1), 12, step) for step in range(1, 13)]
    assert curve[:4] == [0.25, 0.5, 0.75, 1.0]
    assert curve[-1] == pytest.approx(0.1)
    assert curve[7] == pytest.approx(0.55)
    assert all(a > b for a, b in itertools.pairwise(curve[3:]))


def test_the_tests_own_spec_is_good() -> None:
    assert spec(pp=2, ep=2, shard=4).layout.world == 8


def test_the_bias_rate_stays_falls_or_stops_over_the_last_steps() -> None:
    def rates(kind: Any) -> list[float]:
        return [bias_rate(Moe(8.0, 0.0, kind, 0.4), 10, step) for step in range(1, 11)]

    assert rates("constant") == [8.0] * 10
    assert rates("until") == [8.0] * 6 + [0.0] * 4
    assert rates("linear") == [8.0] * 6 + [6.0, 4.0, 2.0, 0.0]
