"""Packed training rows in a fixed order that a cursor can name.

A file holds `input_ids` and `labels`, int32 [rows, length]. Rows are read through mmap, so a rank touches only its own.
The order is a pure function of (seed, epoch): epoch 0 keeps the file's order or takes the one the spec names, later
epochs are seeded permutations.
Batch `b` is positions [b*g, (b+1)*g) of the endless concatenation of epochs, so the cursor is one number, the next
batch; a resumed or re-laid-out run reads exactly the rows that were not trained, whatever its number of data ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tessera_engine.errors import EngineError


@lru_cache(maxsize=2)
def order_of(epoch: int, rows: int, seed: int) -> torch.Tensor:
    """Row numbers of one epoch, int64 [rows]."""
    if epoch == 0:
        return torch.arange(rows)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(rows, generator=generator)


def rows_of_batch(batch: int, size: int, rows: int, seed: int, first: Sequence[int] = ()) -> list[int]:
    """Row numbers of global batch `batch`, in order; `first`: those of epoch 0, where it is not the file's order.

    >>> rows_of_batch(1, 4, 10, seed=0)
    [4, 5, 6, 7]
    """
    positions = range(batch * size, (batch + 1) * size)
    return [first[p] if p < len(first) else int(order_of(p // rows, rows, seed)[p % rows]) for p in positions]


@dataclass(frozen=True)
class Rows:
    """Some rows of a global batch: `input_ids` and `labels`, int64 [n, length]."""

    input_ids: torch.Tensor
    labels: torch.Tensor


class PackedData:
    """Reader of one packed file for one run (`seed`, `global_batch` in rows, `sequence_length` None: as it comes)."""

    def __init__(
        self, path: str | Path, sequence_length: int | None, global_batch: int, seed: int, order: Sequence[int] = ()
    ) -> None:
        self.path, self.global_batch, self.seed, self.order = Path(path), global_batch, seed, order
        try:
            with safe_open(str(path), framework="pt") as file:
                self._ids, self._labels = file.get_tensor("input_ids"), file.get_tensor("labels")
        except FileNotFoundError as error:
            raise EngineError("ENGINE_DATA_MISSING", f"no data file {path}", file=str(path)) from error
        except (SafetensorError, OSError) as error:
            raise EngineError("ENGINE_DATA_DAMAGED", f"cannot read {path}: {error}", file=str(path)) from error
        shape = tuple(self._ids.shape)
        length = sequence_length or shape[-1]
        wanted = f"int32 [rows, {length}]"
        for name, tensor in (("input_ids", self._ids), ("labels", self._labels)):
            if tensor.dtype != torch.int32 or tuple(tensor.shape) != shape or shape[1:] != (length,) or not shape[0]:
                found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
                raise EngineError(
                    "ENGINE_DATA_SHAPE", f"{name} is {found}, not {wanted}", file=str(path), tensor=name, found=found
                )
        self.rows, self.length = shape[0], length
        if order and sorted(order) != list(range(self.rows)):
            message = f"an order of {len(order)} rows that is none of the {self.rows} rows of {path}"
            raise EngineError("ENGINE_DATA_ORDER", message, file=str(path))

    def check_vocabulary(self, size: int) -> None:
        """Refuses rows whose token ids the model has no embedding for (a file of another tokenizer)."""
        top, bottom = int(self._ids.max()), int(self._ids.min())
        if bottom < 0 or top >= size:
            raise EngineError(
                "ENGINE_DATA_VOCABULARY",
                f"token ids {bottom}..{top} do not fit a vocabulary of {size}",
                file=str(self.path),
                lowest=bottom,
                highest=top,
                vocabulary=size,
            )

    def batch(self, cursor: int, part: int = 0, parts: int = 1) -> Rows:
        """Slice `part` of `parts` equal slices of global batch `cursor`."""
        rows = rows_of_batch(cursor, self.global_batch, self.rows, self.seed, self.order)
        each = len(rows) // parts
        return self.take(rows[part * each : (part + 1) * each])

    def take(self, rows: Sequence[int]) -> Rows:
        """Rows by number, in the order asked."""
        index = torch.tensor(rows)
        return Rows(self._ids[index].long(), self._labels[index].long())
