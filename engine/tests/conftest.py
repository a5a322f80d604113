"""One thread per test process, as a rank has; no file of tests leaves its process group to the next one."""

import os
from collections.abc import Iterator

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import pytest  # noqa: E402
import torch.distributed as dist  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def no_world_left() -> Iterator[None]:
    yield
    if dist.is_initialized():
        dist.destroy_process_group()
