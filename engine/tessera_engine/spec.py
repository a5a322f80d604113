"""The worker spec (`worker.json`) as frozen records, checked before anything is built.

JSON names are camelCase and become snake_case here; an unknown key, a wrong type or an impossible layout is a coded
`EngineError` that names the field, so a typo never trains with a default in its place.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tessera_engine.errors import EngineError


@dataclass(frozen=True)
class Model:
    """`config`: folder with config.json; `weights`: Hugging Face folder read when `init` is "hf"."""

    config: str
    init: Literal["hf", "random"] = "random"
    weights: str | None = None


@dataclass(frozen=True)
class Moe:
    """Auxiliary-free bias rate per step, and the factor of the sequence-wise balance loss (0 turns either off).

    `bias_schedule` is what the rate does over the last fraction of the steps (`optim.bias_rate`).
    """

    bias_rate: float = 0.0
    sequence_balance_loss: float = 0.0
    bias_schedule: Literal["constant", "linear", "until"] = "constant"
    bias_last_fraction: float = 0.1


@dataclass(frozen=True)
class Weighted:
    """An extra objective and its weight beside the main loss (0 turns it off)."""

    loss_weight: float = 0.0


@dataclass(frozen=True)
class Layout:
    """Degrees, schedule and stage split. `stages` lists the layers of every virtual stage, first stage first."""

    pp: int = 1
    vpp: int = 1
    tp: int = 1
    cp: int = 1
    dp_replicate: int = 1
    dp_shard: int = 1
    ep: int = 1
    schedule: Literal["1f1b", "interleaved1f1b"] = "1f1b"
    stages: tuple[tuple[int, ...], ...] | None = None
    recompute: Literal["none", "full"] = "none"
    slots_per_rank: int | None = None
    reshard_after_forward: bool | None = None

    @property
    def world(self) -> int:
        """Ranks of the whole layout."""
        return self.pp * self.tp * self.cp * self.dp_replicate * self.dp_shard

    @property
    def efsdp(self) -> int:
        """Ranks that share the FSDP pieces of one expert."""
        return self.dp_shard // self.ep

    @property
    def data_ranks(self) -> int:
        """Ranks that train on different rows."""
        return self.dp_replicate * self.dp_shard


@dataclass(frozen=True)
class Precision:
    """`param`: what modules compute in; `master`: what the optimizer keeps; `reduce`: what gradients are summed in."""

    param: Literal["float32", "bfloat16"] = "float32"
    master: Literal["float32"] = "float32"
    reduce: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class BatchShape:
    """Tokens per row, rows per micro-batch, rows per step over all data ranks."""

    sequence_length: int
    micro_batch: int
    global_batch: int


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and a cosine down to `min_ratio` of the peak; `clip` 0 turns clipping off."""

    learning_rate: float
    kind: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    warmup_steps: int = 0
    decay: Literal["cosine", "constant"] = "cosine"
    min_ratio: float = 0.1


@dataclass(frozen=True)
class Spec:
    """Everything a rank is told. `data`, `checkpoint`, `telemetry` and `self_check` are for the worker loop."""

    model: Model
    batch: BatchShape
    optimizer: Optimizer
    v: int = 1
    run: str = "run"
    stage: str = "sft"
    seed: int = 0
    deterministic: bool = True
    threads: int = 1
    steps: int = 1
    moe: Moe = Moe()
    mtp: Weighted = Weighted()
    indexer: Weighted = Weighted()
    layout: Layout = Layout()
    precision: Precision = Precision()
    data: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)
    self_check: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    placement: dict[str, Any] | None = None
    freeze: tuple[str, ...] = ()

    @property
    def micro_batches(self) -> int:
        """Micro-batches that each data rank runs in a step."""
        return self.batch.global_batch // (self.layout.data_ranks * self.batch.micro_batch)

    @staticmethod
    def of(document: dict[str, Any]) -> Spec:
        """A checked spec from parsed JSON. Raises `EngineError` ENGINE_SPEC_FIELD or ENGINE_LAYOUT."""
        spec: Spec = _read(Spec, document, "")
        if not 0 < spec.moe.bias_last_fraction <= 1:
            _wrong("moe.biasLastFraction", "above 0 and at most 1", spec.moe.bias_last_fraction)
        check_layout(spec)
        return spec


def check_layout(spec: Spec) -> None:
    """Refuses what this engine cannot run. Recipes are checked before, with reasons (`recipe/check.ts`)."""
    layout, batch = spec.layout, spec.batch
    sizes = [getattr(layout, f.name) for f in dataclasses.fields(layout) if f.type == "int"]
    sizes += [batch.micro_batch, batch.global_batch, batch.sequence_length]
    good = (
        min(sizes) >= 1
        and layout.tp == layout.cp == 1
        and layout.dp_shard % layout.ep == 0
        and batch.global_batch % (layout.data_ranks * batch.micro_batch) == 0
        and (layout.schedule == "1f1b") == (layout.vpp == 1)
        and (layout.vpp == 1 or (layout.pp > 1 and spec.micro_batches % layout.pp == 0))
        and (layout.stages is None or len(layout.stages) == layout.pp * layout.vpp)
    )
    if not good:
        raise EngineError("ENGINE_LAYOUT", f"this engine does not run {layout} with {batch}")


def stage_split(layout: Layout, layers: int) -> tuple[tuple[int, ...], ...]:
    """Layers of every virtual stage; an even split when the spec names none. The head counts as no layer.

    >>> stage_split(Layout(pp=2), 5)
    ((0, 1, 2), (3, 4))
    """
    count = layout.pp * layout.vpp
    if layout.stages is None:
        cuts = [-(-layers * i // count) for i in range(count + 1)]
        return tuple(tuple(range(a, b)) for a, b in itertools.pairwise(cuts))
    if [i for stage in layout.stages for i in stage] != list(range(layers)):
        raise EngineError("ENGINE_LAYOUT", f"layout.stages does not list layers 0..{layers - 1} once, in order")
    return layout.stages


def slots_of(placement: Any, layer: int, experts: int, slots: int, ep: int) -> list[int]:
    """Expert of every slot of one layer, checked: every expert somewhere, no two copies of one on a rank."""
    table = (placement or {}).get(str(layer), [slot % experts for slot in range(slots)])
    each = slots // ep
    good = (
        slots % ep == 0
        and isinstance(table, list)
        and len(table) == slots
        and all(type(expert) is int for expert in table)
        and set(table) == set(range(experts))
        and all(len(set(table[r * each : (r + 1) * each])) == each for r in range(ep))
    )
    if not good:
        raise EngineError("ENGINE_PLACEMENT", f"layer {layer}: no placement of {experts} experts: {table}", layer=layer)
    return list(table)


def camel(name: str) -> str:
    """`warmup_steps` -> `warmupSteps`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` from JSON as the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _read(arguments[0], value, where)
    if origin is Literal:
        return value if value in arguments else _wrong(where, f"one of {list(arguments)}", value)
    if origin is tuple:
        if not isinstance(value, list) or (arguments[-1] is not Ellipsis and len(value) != len(arguments)):
            return _wrong(where, "a list", value)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_read(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        return value if isinstance(value, dict) else _wrong(where, "an object", value)
    if dataclasses.is_dataclass(kind):
        return _record(kind, value, where)
    if kind is float:
        return float(value) if type(value) in (int, float) else _wrong(where, "a number", value)
    return value if type(value) is kind else _wrong(where, kind.__name__, value)


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _wrong(where, "an object", value)
    hints, prefix = typing.get_type_hints(kind), f"{where}." if where else ""
    fields = {camel(f.name): f for f in dataclasses.fields(kind)}
    for key in value.keys() - fields.keys():
        _wrong(prefix + key, f"a known field ({', '.join(fields)})", value[key])
    found = {f.name: _read(hints[f.name], value[key], prefix + key) for key, f in fields.items() if key in value}
    for key, f in fields.items():
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and key not in value:
            _wrong(prefix + key, "present", None)
    return kind(**found)


def _wrong(where: str, wanted: str, value: Any) -> Any:
    text = repr(value)
    text = text if len(text) < 60 else text[:57] + "..."
    raise EngineError("ENGINE_SPEC_FIELD", f"{where}: must be {wanted}, not {text}", field=where)


def read_config(folder: str) -> Any:
    """The Hugging Face configuration in `folder`."""
    from transformers import AutoConfig

    if not (Path(folder) / "config.json").is_file():
        raise EngineError("ENGINE_MODEL_MISSING", f"no config.json in {folder}", file=f"{folder}/config.json")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise EngineError("ENGINE_MODEL_CONFIG", f"cannot read {folder}/config.json: {error}", file=folder) from error
