"""What a step leaves behind: seconds by span, sums of losses, loads. Forward code writes here, the engine reads.

Shape inference and recomputation run the same forward a second time; they must not be counted. So sums and loads are
taken only while `counting` is on and no recomputation is under way.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch


@dataclass
class Trace:
    """Shared by all modules of one engine; cleared at the start of a step."""

    counting: bool = False
    recomputing: bool = False
    spans: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    # (token, k) pairs that this rank's routers sent out, and that its experts computed.
    routed: int = 0
    computed: int = 0
    # Of those sent out: to this rank itself, to others on its node, to other nodes.
    sent: list[int] = field(default_factory=lambda: [0, 0, 0])
    # In a step that times links one by one: the bytes that this rank's all-to-alls sent over each.
    by_link: bool = False
    link_bytes: list[int] = field(default_factory=lambda: [0, 0, 0])
    # Divisors of the step, known before the forward: target tokens of the global batch, of its MTP, rows, tokens.
    targets: float = 1.0
    mtp_targets: float = 1.0
    rows: float = 1.0
    tokens: float = 1.0
    length: int = 1

    @property
    def live(self) -> bool:
        """True in a forward whose numbers count."""
        return self.counting and not self.recomputing

    def clear(self) -> None:
        """Forgets the last step."""
        self.spans.clear()
        self.sums.clear()
        self.routed = self.computed = 0
        self.sent, self.link_bytes = [0, 0, 0], [0, 0, 0]

    def add(self, name: str, value: torch.Tensor) -> None:
        """Adds a loss term, already divided by its global divisor, to what is reported."""
        if self.live:
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Adds the wall seconds of the block to span `name`. On accelerators this is the host's time."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spans[name] += time.perf_counter() - started

    @contextlib.contextmanager
    def _recompute(self) -> Iterator[None]:
        before, self.recomputing = self.recomputing, True
        try:
            yield
        finally:
            self.recomputing = before

    def recompute_contexts(
        self,
    ) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        """Contexts for `torch.utils.checkpoint`: the first forward, and the one that is run again."""
        return contextlib.nullcontext(), self._recompute()


class AddLoss(torch.autograd.Function):
    """Passes `x` through and makes `loss` (a scalar in its final scale) part of what the step minimises.

    A term that arises inside a pipeline stage needs no road to the last stage this way.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """Returns a view of `x`."""
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of `x` unchanged, and 1 for the loss."""
        return grad, torch.ones((), dtype=torch.float32, device=grad.device)


def add_loss(x: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    """`x`, with `loss` attached (see `AddLoss`)."""
    return AddLoss.apply(x, loss.float())
