"""Expected failures of the engine: a stable code for the controller to translate, and plain facts beside it."""

from __future__ import annotations

from typing import Any


class EngineError(Exception):
    """A failure with a cause outside the code; `facts` (file, tensor, rank ...) are sent as they are.

    Exit code of a worker that ends with one: 3 (environment), unless `exit_code` says otherwise.
    """

    def __init__(self, code: str, message: str, exit_code: int = 3, **facts: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.exit_code, self.facts = code, message, exit_code, facts

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.code, self.message, self.exit_code, self.facts))

    def describe(self) -> dict[str, Any]:
        """The failure as JSON fields: {code, message, ...facts}."""
        return {"code": self.code, "message": self.message, **self.facts}


# What torch says when a peer process is gone or silent; the cause is elsewhere, and the controller must know that.
_PEER_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "imed out", "Timeout", "refused")


def peer_lost(error: BaseException) -> EngineError | None:
    """`error` as ENGINE_PEER_LOST, with which a rank may be started again, if a collective of torch failed for it."""
    if not isinstance(error, RuntimeError) or not any(sign in str(error) for sign in _PEER_LOST):
        return None
    return EngineError("ENGINE_PEER_LOST", str(error), exit_code=1)


def _rebuild(code: str, message: str, exit_code: int, facts: dict[str, Any]) -> EngineError:
    return EngineError(code, message, exit_code, **facts)
