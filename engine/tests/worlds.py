"""Small worlds of real processes over gloo, for tests and benchmarks.

Ranks are forked from this process, so torch and transformers are imported once; therefore this process itself must
never run a backward pass (autograd's threads do not survive a fork): a world of one does it. A task is any function;
it runs on every rank with RANK and friends set.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from tiny import config

from tessera_engine.engine import Engine
from tessera_engine.spec import Spec

CONTEXT = multiprocessing.get_context("fork")


def _rank(
    rank: int,
    world: int,
    at: dict[str, str],
    gate: Any,
    pipe: Any,
    task: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    gate.wait()
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank), **at}
    torch.set_num_threads(1)
    try:
        pipe.send((True, task(*arguments)))
    except BaseException as error:
        pipe.send((False, f"rank {rank}: {error!r}\n{traceback.format_exc()}"))
    pipe.close()
    os._exit(0)


def meeting() -> tuple[dist.TCPStore, dict[str, str]]:
    """A store in this process at which a world meets, and the variables that send its ranks there.

    Its port is free and stays taken from the first moment on: no other process can come between.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    at = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    return store, at


SILENT_SECONDS = 300


def run(world: int, task: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Runs `task` on `world` ranks; their results by rank. Raises with the first rank's traceback when one fails."""
    store, at = meeting()
    # A dead process group of this process must not be collected in a rank: its threads are not there, and it would wait
    # for whichever thread of the rank has got their place.
    gc.collect()
    gc.freeze()
    # While a rank speaks to the store, the store's thread here holds locks that a rank forked just then would wait for
    # without end: nobody speaks before all are there.
    pipes, processes, gate = [], [], CONTEXT.Event()
    for rank in range(world):
        mine, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_rank, args=(rank, world, at, gate, theirs, task, arguments), daemon=True)
        process.start()
        theirs.close()
        pipes.append(mine)
        processes.append(process)
    gate.set()
    try:
        found = []
        for rank, pipe in enumerate(pipes):
            if not pipe.poll(SILENT_SECONDS):
                raise AssertionError(f"rank {rank} of {world} said nothing for {SILENT_SECONDS} s")
            found.append(pipe.recv())
    finally:
        for process in processes:
            process.kill()
            process.join()
        gc.unfreeze()
        del store
    bad = [text for good, text in found if not good]
    if bad:
        raise AssertionError("\n".join(bad))
    return [value for _, value in found]


def rows(engine: Engine, step: int, vocabulary: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """This data rank's part of a seeded global batch; the first quarter of every row has no loss."""
    batch = engine.spec.batch
    draw = torch.Generator().manual_seed(1000 + step)
    ids = torch.randint(0, 64, (batch.global_batch, batch.sequence_length), generator=draw)
    ids = (ids * 7 + ids.roll(1, 1)) % vocabulary
    each = batch.global_batch // engine.spec.layout.data_ranks
    mine = ids[engine.mesh.data_rank * each :][:each]
    labels = mine.clone()
    labels[:, : batch.sequence_length // 4] = -100
    return mine, labels


def train(spec: Spec, model: str, steps: int, changes: dict[str, Any] | None = None) -> list[tuple[float, float]]:
    """Loss and gradient norm of `steps` steps."""
    engine = Engine.build(spec, config=config(model, **(changes or {})))
    results = [engine.train_step(*rows(engine, step)) for step in range(steps)]
    return [(result.loss, result.grad_norm) for result in results]
