"""What telemetry costs a step: `python engine/bench/telemetry.py [--blocks 16]`.

Four ranks (PP2 x EP2) of the model of `speed.py` run the real loop and talk to a reader over a real socket. Blocks of
two steps with and without telemetry take turns, so what slows the machine slows both; each pair of neighbours is one
sample. Wall time of a busy machine is noise of more than a percent, so the processor time that the messages themselves
take, measured around each, stands beside it: it is what telemetry adds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENGINE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ENGINE), str(ENGINE / "tests"), str(ENGINE / "bench")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import agents  # noqa: E402
import speed  # noqa: E402
import tiny  # noqa: E402
import worlds  # noqa: E402

from tessera_engine import loop as loops  # noqa: E402
from tessera_engine.control import meet  # noqa: E402
from tessera_engine.engine import Engine  # noqa: E402
from tessera_engine.telemetry import Telemetry  # noqa: E402

BLOCK = 2


def rank(spec: str, path: str, blocks: int) -> dict[str, list[float]]:
    """Wall and processor seconds of a step with and without telemetry by block, and of the messages of a step."""
    loop = loops.Loop(json.loads(Path(spec).read_text()), Telemetry(path, "bench", int(os.environ["RANK"]), 0))
    loop.prepare()
    found: dict[str, list[float]] = {"on": [], "off": [], "cpu on": [], "cpu off": [], "tell": [], "load": []}
    tell, fields = loop._tell, loops.load_fields

    def timed(name: str, inner: Any) -> Any:
        def call(*arguments: Any) -> Any:
            started = time.thread_time()
            result = inner(*arguments)
            found[name].append(time.thread_time() - started)
            return result

        return call

    loop._tell, loops.load_fields = timed("tell", tell), timed("load", fields)  # type: ignore[method-assign]
    for block in range(2 * blocks + 1):
        loop.talks = block % 2 == 1
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(BLOCK):
            meet(loop.control, loop.telemetry, False, False)
            loop._step(0.0)
        name = "on" if loop.talks else "off"
        found[name].append((time.perf_counter() - wall) / BLOCK)
        found[f"cpu {name}"].append((time.process_time() - cpu) / BLOCK)
    return found


def by_link(steps: int) -> tuple[list[float], list[float]]:
    """Processor seconds of steps that do not time links one by one and of steps that do, in turns; two ranks a node."""
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    batch = {"sequenceLength": speed.LENGTH, "microBatch": 2, "globalBatch": speed.ROWS}
    off: dict[str, float] = {"lossWeight": 0}
    spec = tiny.spec(ep=4, shard=4, batch=batch, telemetry={"linksEvery": 0}, mtp=off, indexer=off)
    engine = Engine.build(spec, config=tiny.config("v4", **speed.MODEL))
    found: tuple[list[float], list[float]] = [], []
    for step in range(2 * steps + 2):
        spec.telemetry["linksEvery"] = step % 2
        started = time.process_time()
        engine.train_step(*worlds.rows(engine, step))
        if step > 1:
            found[step % 2].append(time.process_time() - started)
    return found


def reader(path: str) -> None:
    """Takes whatever the ranks send."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(4)
        sources: list[socket.socket] = [server]
        while True:
            for source in select.select(sources, [], [])[0]:
                if source is server:
                    sources.append(server.accept()[0])
                elif not source.recv(1 << 20):
                    sources.remove(source)


def main() -> None:
    """Prints the difference of neighbouring blocks, and the cost of the messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=16)
    blocks = parser.parse_args().blocks
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as name:
        folder = Path(name)
        tiny.config("v4", **speed.MODEL).save_pretrained(folder / "model")
        spec = agents.write_spec(
            folder, folder / "model", steps=10_000, model={"init": "random"}, checkpoint={"dir": None},
            mtp={"lossWeight": 0}, indexer={"lossWeight": 0}, data={"path": str(folder / "rows.safetensors")},
            batch={"sequenceLength": speed.LENGTH, "microBatch": 2, "globalBatch": speed.ROWS},
            layout=speed.LAYOUTS["PP2 x EP2"]["layout"],
        )  # fmt: skip
        agents.write_rows(folder / "rows.safetensors", 64, speed.LENGTH)
        path = str(folder / "reader.sock")
        process = worlds.CONTEXT.Process(target=reader, args=(path,), daemon=True)
        process.start()
        while not Path(path).exists():
            time.sleep(0.01)
        try:
            ranks = worlds.run(4, rank, str(spec), path, blocks)
        finally:
            process.kill()
    wall = [on / off - 1 for on, off in zip(ranks[0]["on"], ranks[0]["off"], strict=False)]
    cpu = [sum(r["cpu on"][i] for r in ranks) / sum(r["cpu off"][i] for r in ranks) - 1 for i in range(blocks)]
    step = statistics.median(sum(r["cpu off"][i] for r in ranks) for i in range(blocks))
    messages, loads = (sum(statistics.median(r[n]) for r in ranks if r[n]) for n in ("tell", "load"))
    print(f"step {statistics.median(ranks[0]['off']) * 1e3:.0f} ms wall, {step * 1e3:.0f} ms processor time of 4 ranks")
    print(f"on against off, medians of {blocks} pairs: wall {statistics.median(wall):+.2%}, processor time", end=" ")
    print(f"{statistics.median(cpu):+.2%}")
    two = worlds.run(4, by_link, blocks)
    plain, timed = (statistics.median(sum(step) for step in zip(*(r[i] for r in two), strict=True)) for i in (0, 1))
    print(f"a step of EP4 on two nodes that times links one by one: {timed / plain - 1:+.2%} processor time", end=" ")
    print(f"(medians of {blocks}); every 100th: {(timed / plain - 1) / 100:+.3%}")
    print(f"messages of a step: {messages * 1e3:.2f} ms processor time = {messages / step:.3%};", end=" ")
    print(f"of these expert loads {loads * 1e3:.2f} ms = {loads / step:.3%}")


if __name__ == "__main__":
    main()
