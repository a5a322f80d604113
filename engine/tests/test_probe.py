"""The command line of the package: doctor's line and wrong usage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

ENGINE = Path(__file__).resolve().parents[1]


def engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tessera_engine", *arguments]
    return subprocess.run(command, cwd=ENGINE, capture_output=True, text=True)


def test_doctor_says_what_is_there() -> None:
    done = engine("doctor")
    result = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and result["kind"] == "result" and result["gloo"]
    assert result["torch"] == torch.__version__
    assert len(result["devices"]) == (torch.accelerator.device_count() if torch.accelerator.is_available() else 0)


def test_wrong_usage_is_two() -> None:
    assert engine().returncode == 2
    assert engine("dance").returncode == 2
