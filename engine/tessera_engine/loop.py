"""The training loop of a rank: resume, self-check, steps, and what is obeyed between them."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tessera_engine import checkpoint, hf, parity, relocate
from tessera_engine.control import meet
from tessera_engine.data import PackedData
from tessera_engine.engine import Engine, NotFinite, StepResult
from tessera_engine.errors import EngineError
from tessera_engine.manifest import Manifest
from tessera_engine.memory import check_memory
from tessera_engine.mesh import build_mesh, device_here
from tessera_engine.spec import Spec, camel, read_config, slots_of
from tessera_engine.telemetry import Telemetry


class Loop:
    """State of one rank between steps: the engine, the cursor (next global batch), and what was asked."""

    def __init__(self, document: dict[str, Any], telemetry: Telemetry) -> None:
        self.document, self.telemetry = document, telemetry
        self.spec = spec = Spec.of(document)
        self.cursor, self.stop_asked, self.save_due, self.resumed = 0, False, False, False
        self.talks = bool(spec.telemetry.get("enabled", True))
        self.config = config = read_config(spec.model.config)
        batch = spec.batch
        path, order = spec.data.get("path", ""), spec.data.get("order", ())
        self.data = PackedData(path, batch.sequence_length, batch.global_batch, spec.seed, order)
        self.data.check_vocabulary(config.vocab_size)
        device, needed = device_here(), spec.memory.get("needed")
        if needed:
            # Before the ranks meet, so that none has taken memory yet when another looks.
            rank = int(os.environ.get("RANK", "0"))
            check_memory(int(needed[rank]), device, rank, str(spec.memory.get("lighter", "")))
        self.mesh = build_mesh(spec.layout, device)
        self.rank = dist.get_rank()
        cpu = dist.get_backend() == "gloo"
        world: Any = dist.group.WORLD
        self.control: dist.ProcessGroup = world if cpu else dist.new_group(backend="gloo")
        self.save_group = dist.new_group(backend="gloo")
        folder = spec.checkpoint.get("dir")
        keep = int(spec.checkpoint.get("keep", 3))
        self.saver = checkpoint.Saver(Path(folder), keep, self.save_group, hf.on_disk(config)) if folder else None
        self.every = int(spec.checkpoint.get("every", 0))
        torch.manual_seed(spec.seed * 1_000_003 + self.rank)
        self.engine = Engine.build(spec, self.mesh, config, weights=False)
        self.saved_step = -1

    # Before the first step

    def prepare(self) -> None:
        """Loads weights or resumes, checks the layout on a fresh start, and warms the staging buffers."""
        self.telemetry.send("phase", name="load")
        if not self._resume():
            drawn = self.engine.load_weights()
            if drawn:
                self._log("warning", f"not in the weights, drawn anew: {', '.join(drawn[:8])} ({len(drawn)} in all)")
        if not self.resumed:
            self.telemetry.send("phase", name="selfcheck")
            self._self_check()
        if self.saver is not None:
            self.saver.stage(self._state())
        self._tell_placement()
        self.telemetry.send("phase", name="train")

    def _tell_placement(self) -> None:
        """Where this stage's experts stand: what the controller plans from, at the start and after every move."""
        if self.mesh.data_rank == 0:
            self.telemetry.send("placement", layers=self.engine.placement())

    def _resume(self) -> bool:
        if self.saver is None:
            return False
        resume = str(self.spec.checkpoint.get("resume", "auto"))
        found = checkpoint.choose(self.saver.folder, resume, self.save_group, self._report_damage)
        if found is None:
            return False
        path, manifest = found
        for layer, way in self.engine.dispatchers().items():
            # A table that this layout cannot have (other slots, other ranks) leaves the spec's in force.
            if str(layer) in manifest.placement:
                with contextlib.suppress(EngineError):
                    way.place(slots_of(manifest.placement, layer, way.experts, len(way.slots), way.ep))
        state = self._state()
        if int(manifest.facts.get("world", 0)) <= self.rank:
            state.pop(f"rng/{self.rank}")
        checkpoint.load(path, state, self.save_group)
        self.engine.resume(manifest.step)
        if (rng := state.get(f"rng/{self.rank}")) is not None:
            torch.set_rng_state(rng)
        self.cursor, self.resumed = self._cursor_of(manifest), True
        if path.parent.resolve() == self.saver.folder.resolve():
            self.saved_step = manifest.step
        self.telemetry.step = manifest.step
        self._log("info", f"resumed from {path}", event="resumed", path=str(path), cursor=self.cursor)
        return True

    def _cursor_of(self, manifest: Manifest) -> int:
        """The cursor in this spec's batches; a batch size that would repeat or lose rows is refused."""
        seen = manifest.cursor * int(manifest.facts.get("globalBatch", self.spec.batch.global_batch))
        if seen % self.spec.batch.global_batch or manifest.facts.get("seed", self.spec.seed) != self.spec.seed:
            message = f"the checkpoint ends after {seen} rows in the order of seed {manifest.facts.get('seed')}"
            raise EngineError("ENGINE_RESUME_DATA", message, globalBatch=self.spec.batch.global_batch)
        return seen // self.spec.batch.global_batch

    def _report_damage(self, error: EngineError) -> None:
        if self.rank == 0:
            self._log("error", f"passed over: {error.message}", event="checkpoint_damaged", **error.describe())

    def _self_check(self) -> None:
        wanted = self.spec.self_check
        if wanted.get("parity", True):
            found = parity.check(self.spec, self.config, self.mesh)
            if self.rank == 0:
                self.telemetry.send("parity", **{camel(name): value for name, value in found.__dict__.items()})
            if not found.ok:
                message = f"gradients of this layout differ from one process by {found.max_relative:.3g}"
                raise EngineError("ENGINE_PARITY", message, tensor=found.worst, relative=found.max_relative)
        rows = self.data.batch(self.cursor, self.mesh.data_rank, self.spec.layout.data_ranks)
        if wanted.get("gradients", True):
            missing = self.engine.parameters_without_gradient(rows.input_ids, rows.labels)
            if self.rank == 0:
                self.telemetry.send("nograd", parameters=missing)

    # Steps

    def train(self) -> None:
        """Steps until the spec's last one or until a stop; ends with a published checkpoint of the last step."""
        stop = False
        while True:
            began = time.perf_counter()
            boundary = meet(self.control, self.telemetry, self.stop_asked, self.saver is not None and self.saver.busy)
            self._report_save()
            stop = boundary.stop
            for command in boundary.commands:
                stop = self._obey(command) or stop
            between = time.perf_counter() - began
            if stop or self.engine.step >= self.spec.steps:
                break
            if self.saver is not None and self.save_due and not boundary.saving:
                self._begin_save()
            self._step(between)
        if self.saver is not None:
            self.telemetry.send("phase", name="save")
            self._finish_save()
            if self.saved_step != self.engine.step:
                self._begin_save()
                failure = self._finish_save()
                if failure is not None:
                    raise failure

    def _step(self, between: float) -> None:
        started = time.perf_counter()
        rows = self.data.batch(self.cursor, self.mesh.data_rank, self.spec.layout.data_ranks)
        fetched = time.perf_counter()
        try:
            result = self.engine.train_step(rows.input_ids, rows.labels)
        except NotFinite as error:
            error.facts["cursor"] = self.cursor
            if self.saver is not None:
                self._finish_save()
            raise
        self.cursor += 1
        self.telemetry.step = result.step
        self.save_due = self.save_due or bool(self.every and result.step % self.every == 0)
        if self.talks:
            spans = {"data": fetched - started, "boundary": between}
            self._tell(result, time.perf_counter() - started, spans)

    def _tell(self, result: StepResult, seconds: float, spans: dict[str, float]) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        fields = {camel(f.name): getattr(result, f.name) for f in dataclasses.fields(result) if f.name != "loads"} | {
            "seconds": seconds, "processorSeconds": used.ru_utime + used.ru_stime, "cursor": self.cursor,
            "spans": {**result.spans, **spans},
            "memory": {**result.memory, "hostPeak": used.ru_maxrss * 1024}, "dropped": self.telemetry.dropped,
        }  # fmt: skip
        self.telemetry.send("step", **fields)
        if self.mesh.data_rank == 0 and result.loads:
            self.telemetry.send("load", **load_fields(result.loads))

    # Between steps

    def _obey(self, command: dict[str, Any]) -> bool:
        """Carries out one command on this rank; True when it asks to stop. Failures are acknowledged, never fatal."""
        what, good = command.get("do"), True
        detail: dict[str, Any] | None = None
        try:
            if what == "checkpoint":
                self.save_due = True
            elif what == "relocate":
                moved = relocate.move(
                    self.engine, dict(command["placement"]), self.control, overlap=bool(command.get("overlap"))
                )
                self.telemetry.send("moved", **moved.__dict__)
                self._tell_placement()
                detail = {"layers": moved.layers, "seconds": moved.seconds}
            elif what == "rehearse":
                tried = relocate.rehearse(self.engine, self.control)
                if self.rank == 0:
                    samples = [[len(one.layers), one.bytes, one.seconds] for one in tried]
                    self.telemetry.send("rehearsed", samples=samples)
            elif what != "stop":
                raise ValueError(f"unknown command {what!r}")
        except EngineError as error:
            good, detail = False, error.describe()
        except (KeyError, TypeError, ValueError) as error:
            good, detail = False, {"code": "ENGINE_COMMAND", "message": f"{type(error).__name__}: {error}"}
        if self.rank == 0:
            self.telemetry.send("ack", id=str(command.get("id", "")), do=str(what), ok=good, detail=detail)
        return good and what == "stop"

    def _state(self) -> checkpoint.State:
        return {**self.engine.state_dict(), f"rng/{self.rank}": torch.get_rng_state()}

    def _begin_save(self) -> None:
        assert self.saver is not None
        manifest = Manifest(
            run=self.spec.run,
            step=self.engine.step,
            cursor=self.cursor,
            files=[],
            layout=dict(self.document.get("layout", {})),
            placement=self.engine.placement(),
            spec=hashlib.sha256(json.dumps(self.document, sort_keys=True).encode()).hexdigest(),
            facts={
                "seed": self.spec.seed,
                "globalBatch": self.spec.batch.global_batch,
                "world": dist.get_world_size(),
                "param": self.spec.precision.param,
            },
        )
        if self.rank == 0:
            self.telemetry.send("saving")
        self.saver.begin(self._state(), manifest)
        self.save_due, self.saved_step = False, self.engine.step

    def _finish_save(self) -> EngineError | None:
        assert self.saver is not None
        return self._report(self.saver.finish())

    def _report_save(self) -> None:
        if self.saver is not None:
            self._report(self.saver.poll())

    def _report(self, saved: checkpoint.Saved | None) -> EngineError | None:
        if saved is None:
            return None
        if saved.error is not None:
            self.saved_step = -1
        if self.rank == 0:
            fields: dict[str, Any] = {"step": saved.step, "path": saved.path, "stallSeconds": saved.stall_seconds}
            fields |= {"seconds": saved.seconds, "bytes": saved.bytes}
            if saved.error is None:
                self.telemetry.send("saved", **fields)
            else:
                self.telemetry.send("save_failed", **{**fields, **saved.error.describe()})
                self._log("error", f"step {saved.step} was not saved: {saved.error.message}", event="save_failed")
        return saved.error

    def _log(self, level: str, text: str, **fields: Any) -> None:
        self.telemetry.send("log", level=level, text=text, **fields)
        print(json.dumps({"level": level, "rank": self.rank, "text": text}), flush=True)


def load_fields(loads: dict[int, torch.Tensor]) -> dict[str, Any]:
    """Fields of a `load` message: tokens of every expert, int32 [layers, experts]."""
    layers = sorted(loads)
    counts = torch.stack([loads[layer] for layer in layers]).to(torch.int32)
    array = {"dtype": "int32", "shape": [*counts.shape], "b64": base64.b64encode(counts.numpy().tobytes()).decode()}
    return {"layers": layers, "counts": array}
