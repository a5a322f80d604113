"""Weights from nothing, equal in every layout: each tensor, and each expert of it, has its own seed by its name."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from tessera_engine.pieces import Piece


def generator(seed: int, name: str, part: int = 0) -> torch.Generator:
    """A CPU generator for one part of one tensor."""
    digest = hashlib.sha256(f"{seed}:{name}:{part}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def kind_of(owner: nn.Module, leaf: str, shape: tuple[int, ...]) -> str:
    """ "normal", "ones" or "zeros": matrices are drawn, norms and scales start at one, biases and sinks at zero."""
    if ("Norm" in type(owner).__name__ and leaf == "weight") or leaf in ("scale", "hc_scale"):
        return "ones"
    return "normal" if len(shape) > 1 and leaf != "position_bias" and not leaf.endswith("bias") else "zeros"


def fill(piece: Piece, owner: nn.Module, seed: int, std: float) -> None:
    """Gives a piece its initial values; `owner` is the module that holds the parameter."""
    kind = kind_of(owner, piece.logical.rsplit(".", 1)[-1], piece.whole)
    if kind != "normal":
        piece.local.fill_(1.0 if kind == "ones" else 0.0)
        return
    for block in piece.blocks:
        if block.slot is None:
            drawn = torch.randn(piece.whole, generator=generator(seed, piece.logical))
            part = drawn[block.offsets[0] : block.offsets[0] + block.sizes[0]]
        else:
            drawn = torch.randn(piece.whole[1:], generator=generator(seed, piece.logical, block.offsets[0]))
            part = drawn[block.offsets[1] : block.offsets[1] + block.sizes[1]].unsqueeze(0)
        piece.at(block).copy_(part * std)


def fill_buffer(name: str, buffer: torch.Tensor, seed: int, experts: int) -> None:
    """Router biases start at zero; a hash table sends every token id to k distinct experts, drawn evenly."""
    if not name.endswith("tid2eid"):
        buffer.zero_()
        return
    draw = torch.rand((buffer.shape[0], experts), generator=generator(seed, name))
    buffer.copy_(draw.argsort(1)[:, : buffer.shape[1]])


def owner_of(root: nn.Module, name: str) -> Any:
    """The module that holds parameter `name`."""
    return root.get_submodule(name.rpartition(".")[0])
