"""A Hugging Face folder on local disk as a model or a tokenizer, with coded refusals."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from tessera_engine.errors import EngineError
from tessera_engine.process import emit


def load_model(folder: str) -> Any:
    """The folder's causal language model in its own dtype, for evaluation, by the plain class of transformers."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    where = Path(folder)
    if not (where / "config.json").is_file():
        raise EngineError("ENGINE_MODEL_MISSING", f"no config.json in {folder}", file=str(where / "config.json"))
    try:
        return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise EngineError("ENGINE_MODEL_LOAD", f"cannot load {folder}: {error}", file=folder) from error


def load_tokenizer(folder: str) -> Any:
    """The folder's tokenizer.json."""
    from tokenizers import Tokenizer

    file = Path(folder) / "tokenizer.json"
    if not file.is_file():
        raise EngineError("ENGINE_TOKENIZER", f"no tokenizer.json in {folder}", file=str(file))
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust reader raises a bare Exception
        raise EngineError("ENGINE_TOKENIZER", f"cannot read {file}: {error}", file=str(file)) from error


def read_tool_spec(arguments: list[str], *names: str) -> dict[str, Any]:
    """A one-shot tool's JSON spec file with the fields it must have."""
    path = arguments[0] if arguments else ""
    try:
        spec = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise EngineError("ENGINE_SPEC_MISSING", f"cannot read {path or 'a spec'}: {error}", file=path) from error
    for name in names:
        if not isinstance(spec, dict) or name not in spec:
            raise EngineError("ENGINE_SPEC_FIELD", f"{path}: no field {name!r}", file=path, field=name)
    torch.set_num_threads(int(spec.get("threads", 1)))
    return dict(spec)


def tool(work: Callable[[dict[str, Any]], None], arguments: list[str], *names: str) -> int:
    """Runs a one-shot tool on its spec file; the exit code, after a `fatal` line when it fails as expected."""
    try:
        work(read_tool_spec(arguments, *names))
        return 0
    except EngineError as error:
        emit({"kind": "fatal", **error.describe()})
        return error.exit_code


@contextlib.contextmanager
def replacing(path: str) -> Iterator[TextIO]:
    """A text file that appears under its name whole, when all is on disk."""
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSONL file; raises `EngineError` naming the file and line that is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, dict(json.loads(line))
    except OSError as error:
        raise EngineError("ENGINE_INPUT", f"cannot read {path}: {error}", file=path) from error
    except (ValueError, TypeError) as error:
        raise EngineError("ENGINE_INPUT", f"{path}:{number}: {error}", file=path, line=number) from error
