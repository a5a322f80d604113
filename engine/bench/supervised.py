"""What saves and a killed rank cost a supervised run of four ranks (PP2 x EP2) of a tiny DeepSeek-V4.

    python bench/supervised.py [steps]

Prints the stall of a save against the median step, and the time from a kill -9 to the first new step of the restarted
ranks (forked from the zygote; the agent's own time is not in it). `telemetry.py` measures what telemetry costs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "tests")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from agents import Attempt, Zygote, model_folder, write_spec  # noqa: E402

WARM = 3


def step_seconds(attempt: Attempt) -> list[float]:
    """Wall seconds between the steps that rank 0 reported, warm-up left out."""
    times = [m["t"] for m in attempt.of("step", 0)]
    return [b - a for a, b in zip(times[WARM:], times[WARM + 1 :], strict=False)]


def main() -> None:
    """Runs both measurements in a temporary folder."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as name:
        folder = Path(name)
        model = model_folder(folder / "model")
        zygote = Zygote()
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {steps} steps")

        spec = write_spec(folder / "save", model, steps=steps, checkpoint={"every": 5, "keep": 2})
        saving = Attempt(zygote, folder / "save", spec, 4)
        saving.wait(3000)
        saves = saving.of("saved")
        step = statistics.median(step_seconds(saving))
        stall = statistics.median(m["stallSeconds"] for m in saves[1:])
        write = statistics.median(m["seconds"] for m in saves[1:])
        print(f"save: stall {stall * 1e3:.1f} ms = {stall / step:.1%} of a step of {step * 1e3:.0f} ms;", end=" ")
        print(f"written and published in {write * 1e3:.0f} ms, {saves[-1]['bytes'] / 1e6:.1f} MB, {len(saves)} saves")

        times: list[float] = []
        killed = 0.0
        spec = write_spec(folder / "kill", model, steps=10_000, checkpoint={"every": 2, "keep": 2})
        for number in range(1, 7):
            attempt = Attempt(zygote, folder / "kill", spec, 4, attempt=number)
            attempt.until(lambda a=attempt: a.of("saved"), 3000)
            if number > 1:
                times.append(attempt.of("step", 0)[0]["t"] - killed)
            killed = time.time()
            attempt.kill(number % 4)
            attempt.until(lambda a=attempt: a.exits, 60)
            attempt.end()
        middle, worst = statistics.median(times), max(times)
        print(f"kill -9 to first new step: median {middle:.2f} s, worst {worst:.2f} s of {len(times)}")
        zygote.end()


if __name__ == "__main__":
    main()
