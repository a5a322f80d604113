"""`python -m tessera_engine <zygote|worker|generate|perplexity|doctor|calibrate> [SPEC]`.

Only the sub-command's module is imported, and thread pools are pinned first: the zygote must not start threads
before it forks, and a numeric library reads these variables once, when it loads.
"""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS = {
    "zygote": "zygote",
    "worker": "worker",
    "generate": "generate",
    "perplexity": "perplexity",
    "doctor": "probe",
    "calibrate": "calibrate",
}


def main(arguments: list[str]) -> int:
    """Runs one sub-command and returns its exit code (2 for wrong usage)."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m tessera_engine {{{','.join(COMMANDS)}}} [SPEC]", file=sys.stderr)
        return 2
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Everything the engine reads is on local disk; a hub look-up would stall a machine without network.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    module = importlib.import_module(f"tessera_engine.{COMMANDS[arguments[0]]}")
    run = getattr(module, "script", module.main)
    result: int = run(arguments[1:])
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
