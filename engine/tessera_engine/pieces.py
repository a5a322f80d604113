"""What one rank holds of one logical tensor, in words that no layout appears in.

A `Piece` is the rank's local tensor together with the place of its parts in the logical tensor: for a dense parameter
one block of rows, for a tensor of experts one block per slot, at the number of the *expert* that sits there. PyTorch's
distributed checkpoint asks a tensor for exactly this, so a checkpoint written from pieces has neither ranks nor
placement in it and loads into any other layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType


@dataclass(frozen=True)
class Block:
    """A part of a logical tensor: where it starts there, its sizes, its slot of the local tensor (None: all of it).

    `copy`: another rank has the first copy of this expert, which stands for all where each expert counts once.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    slot: int | None = None
    copy: bool = False


class Piece(torch.Tensor):
    """A local tensor that knows which blocks of the logical tensor `logical` of `whole` shape it holds.

    Reads and writes go to the local tensor itself: loading a checkpoint into a piece fills the parameter.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    logical: str
    whole: tuple[int, ...]
    blocks: tuple[Block, ...]

    @staticmethod
    def of(local: torch.Tensor, name: str, whole: tuple[int, ...], blocks: tuple[Block, ...]) -> Piece:
        """The piece whose storage is that of `local`."""
        piece = local.detach().as_subclass(Piece)
        piece.logical, piece.whole, piece.blocks = name, whole, blocks
        return piece

    def like(self, local: torch.Tensor, name: str | None = None) -> Piece:
        """The same place in the logical tensor, other storage (a host copy, a moment of the optimizer)."""
        return Piece.of(local, name or self.logical, self.whole, self.blocks)

    @property
    def local(self) -> torch.Tensor:
        """The local tensor, as a plain tensor on the same storage."""
        return self.as_subclass(torch.Tensor)

    def size(self, dim: int | None = None) -> Any:
        """The logical size: this is what a checkpoint compares."""
        return torch.Size(self.whole) if dim is None else self.whole[dim]

    def at(self, block: Block) -> torch.Tensor:
        """The local storage of one block, with the block's number of dimensions."""
        return self.local if block.slot is None else self.local[block.slot : block.slot + 1]

    def __create_write_items__(self, name: str, _: object) -> list[WriteItem]:
        properties = TensorProperties.create_from_tensor(self.local)
        return [
            WriteItem(
                index=MetadataIndex(name, torch.Size(block.offsets)),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(
                    chunk=ChunkStorageMetadata(torch.Size(block.offsets), torch.Size(block.sizes)),
                    properties=properties,
                    size=torch.Size(self.whole),
                ),
            )
            for block in self.blocks
            if not block.copy
        ]

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        return [ChunkStorageMetadata(torch.Size(block.offsets), torch.Size(block.sizes)) for block in self.blocks]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        for block in self.blocks:
            if index.offset is None or tuple(index.offset) == block.offsets:
                return self.at(block)
        raise ValueError(f"{index} is not in this piece")
