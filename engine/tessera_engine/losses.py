"""Objectives. Every term is divided by a count of the whole global batch, so terms of ranks and micro-batches add up.

Labels are aligned with the tokens they stand on (`labels[i]` belongs to `input_ids[i]`, -100 = no loss); the shift to
"predict what comes next" happens here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tessera_engine.trace import Trace, add_loss

IGNORE = -100


def shifted(labels: torch.Tensor, ahead: int) -> torch.Tensor:
    """labels [b, s] -> the label `ahead` tokens later, -100 past the end.

    >>> shifted(torch.tensor([[5, 6, 7]]), 1)
    tensor([[   6,    7, -100]])
    """
    return F.pad(labels[:, ahead:], (0, min(ahead, labels.shape[1])), value=IGNORE)


def count_targets(labels: torch.Tensor, depth: int) -> torch.Tensor:
    """int64 [2]: targets of the main loss, and of one MTP loss over all `depth` depths (their mean number)."""
    main = (shifted(labels, 1) != IGNORE).sum()
    mtp = (shifted(labels, 2) != IGNORE).sum() if depth else torch.zeros_like(main)
    return torch.stack([main, mtp])


def with_target(labels: torch.Tensor, ahead: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions in the flattened batch with a target `ahead` tokens later, and those targets: both int64 [rows]."""
    targets = shifted(labels, ahead).reshape(-1)
    rows = (targets != IGNORE).nonzero().squeeze(1)
    return rows, targets[rows]


def cross_entropy_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """logits [1, rows, vocabulary] -> sum of negative log-likelihoods in nats, float32; 0 (gradient 0) for no rows."""
    return F.cross_entropy(logits.squeeze(0).float(), targets, reduction="sum")


def indexer_divergence(scores: torch.Tensor, seen: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Sum over queries of KL(attention || indexer) on the compressed entries that the query attends to.

    scores [b, s, t] from the indexer, seen [b, s, t] bool, probabilities [b, s, t] of the main attention summed over
    heads (a target, no gradient). Objective of DeepSeek-V3.2 (arXiv 2512.02556, sparse training stage).
    """
    target = torch.where(seen, probabilities.float(), 0.0).detach()
    total = target.sum(-1, keepdim=True)
    target = target / total.clamp_min(1e-20)
    logits = torch.where(seen, scores.float(), -1e30)
    log_q = torch.where(seen, torch.log_softmax(logits, -1), 0.0)
    return (torch.xlogy(target, target) - target * log_q).sum()


def balance_sequences(gate: nn.Module, factor: float, trace: Trace) -> None:
    """Adds DeepSeek-V3's sequence-wise balance loss (arXiv 2412.19437, eq. 17-20) to a router, as a forward hook.

    f counts the k largest affinities of a token, as eq. 18 has it: not the experts that bias and groups chose. Rows of
    a batch are the sequences; the term is the mean over all rows of the global batch, summed over layers.
    """

    def hook(module: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> Any:
        logits, weights, index = output
        length = inputs[0].shape[1] if inputs[0].dim() == 3 else trace.length
        scores = _affinity(module, logits.float())
        share = (scores / scores.sum(-1, keepdim=True).clamp_min(1e-20)).view(-1, length, scores.shape[-1]).mean(1)
        experts, k = scores.shape[-1], index.shape[-1]
        largest = scores.detach().topk(k, dim=-1).indices
        hits = F.one_hot(largest.view(-1, length * k), experts).sum(1).float() * (experts / (k * length))
        term = factor * (hits * share).sum() / trace.rows
        trace.add("balance", term)
        return logits, add_loss(weights, term), index

    gate.register_forward_hook(hook)


def _affinity(gate: Any, logits: torch.Tensor) -> torch.Tensor:
    """The router's scores [rows, experts] before any bias: its own function, V3's sigmoid, or softmax."""
    if hasattr(gate, "score_fn"):
        return gate.score_fn(logits)
    return logits.sigmoid() if hasattr(gate, "e_score_correction_bias") else logits.softmax(-1)
