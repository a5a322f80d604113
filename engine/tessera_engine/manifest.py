"""Checkpoint folders on disk: naming, checksums, publishing by rename, choosing what to resume from.

    checkpoints/step-00000025/            published: manifest.json lists every other file with bytes and sha256
    checkpoints/.step-00000025.tmp/       being written; never looked at, removed by the next start
    checkpoints/.step-00000025.old/       the folder that a publish is replacing (moved back if the publish died)

A reader only ever sees names `step-<8 digits>`, and those appear by one rename after all bytes are on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tessera_engine.errors import EngineError

SCHEMA = "tessera.checkpoint/v1"
MANIFEST = "manifest.json"
_PUBLISHED = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class File:
    """One file of a checkpoint: name relative to its folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself; `cursor` is the next global batch, `placement` layer -> expert per slot."""

    run: str
    step: int
    cursor: int
    files: list[File]
    layout: dict[str, Any]
    placement: dict[str, list[int]]
    spec: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The manifest file's text; `sha256` is that of the document without it."""
        document = {"schema": SCHEMA, **asdict(self)}
        return json.dumps({**document, "sha256": _seal(document)}, indent=1, sort_keys=True) + "\n"


def _seal(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def published(folder: Path) -> list[tuple[int, Path]]:
    """Published checkpoints, newest first."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _PUBLISHED.fullmatch(p.name)) and p.is_dir()]
    return sorted(found, reverse=True)


def temporary(folder: Path, step: int) -> Path:
    """Where checkpoint `step` is written before it is published."""
    return folder / f".step-{step:08d}.tmp"


def read(path: Path) -> Manifest:
    """The manifest of a checkpoint folder; a missing or unreadable one is a damaged checkpoint."""
    file = path / MANIFEST
    try:
        content = json.loads(file.read_text())
        if content.pop("sha256") != _seal(content):
            raise ValueError("it does not match its own checksum")
        if content.pop("schema") != SCHEMA:
            raise ValueError("unknown schema")
        content["files"] = [File(**entry) for entry in content["files"]]
        return Manifest(**content)
    except FileNotFoundError as error:
        message = f"{path} has no {MANIFEST}: not a finished checkpoint"
        raise EngineError("ENGINE_CHECKPOINT_MISSING", message, file=str(file)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("ENGINE_CHECKPOINT_DAMAGED", f"cannot read {file}: {error}", file=str(file)) from error


def describe(path: Path, name: str) -> File:
    """Size and sha256 of one file as it is on disk."""
    digest, size = hashlib.sha256(), 0
    with open(path / name, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return File(name, size, digest.hexdigest())


def damage(path: Path, expected: File) -> EngineError | None:
    """None when the file is exactly what the manifest says."""
    where = path / expected.name
    try:
        if (size := where.stat().st_size) != expected.bytes:
            found = f"{where} has {size} bytes, not {expected.bytes}"
        elif describe(path, expected.name) != expected:
            found = f"{where} does not match its checksum"
        else:
            return None
    except OSError as error:
        found = f"cannot read {where}: {error}"
    return EngineError("ENGINE_CHECKPOINT_DAMAGED", found, file=str(where))


def write_synced(path: Path, text: str) -> None:
    """Writes a text file and waits until the disk has it."""
    with open(path, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(folder: Path, manifest: Manifest) -> Path:
    """Writes the manifest into the temporary folder and renames it to its published name; returns that."""
    source, target = temporary(folder, manifest.step), folder / f"step-{manifest.step:08d}"
    write_synced(source / MANIFEST, manifest.to_json())
    sync_folder(source)
    replaced = folder / f".{target.name}.old"
    if target.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
    source.rename(target)
    sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)
    return target


def prune(folder: Path, keep: int) -> None:
    """Removes the oldest published checkpoints beyond `keep`; each leaves its name before its first byte goes."""
    for _, path in published(folder)[max(keep, 1) :]:
        doomed = folder / f".{path.name}.trash"
        with contextlib.suppress(OSError):
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Clears what a killed run left: restores a replaced folder whose successor never came, removes the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob(".step-*.old"):
        target = folder / path.name[1:-4]
        if not target.exists():
            path.rename(target)
    for pattern in (".step-*.tmp", ".step-*.old", ".step-*.trash"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
