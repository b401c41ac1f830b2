"""State: how far the embedded model is, as a frozen value to show.

fetching → checking → starting → ready, and from each of them to crashed (restarts by itself) or failed (no weights, or
a fault that a restart can't mend).
"""

from typing import Literal, TypeAlias

import msgspec

Phase: TypeAlias = Literal[
    "idle", "waiting", "fetching", "checking", "starting", "ready", "crashed", "failed", "closed"
]


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where the embedded model is. `str()` says it in words: `fetching 42 %`, `ready`, `crashed: …`.

    *done* and *total* are bytes, of *source*, while it is fetched (*total* 0: unknown). *reason* says why it crashed
    or failed, and what to do; clients may read it: it names no folder of this machine. *retry_after*: seconds after
    which asking again makes sense. A *lasting* failure stays until somebody does what *reason* says.
    """

    phase: Phase
    done: int = 0
    total: int = 0
    source: str = ""
    reason: str = ""
    retry_after: float = 2.0
    lasting: bool = False

    @property
    def percent(self) -> int | None:
        """How much is fetched; None when nothing is being fetched."""
        return min(100, self.done * 100 // self.total) if self.phase == "fetching" and self.total else None

    def __str__(self) -> str:
        match self.phase:
            case "fetching":
                return f"fetching {self.percent} %" if self.percent is not None else "fetching"
            case "checking":
                return "checking what was fetched"
            case "waiting":
                return "waiting for another process that fetches"
            case "crashed" | "failed":
                return f"{self.phase}: {self.reason}"
            case "idle":
                return "not started"
            case _:
                return self.phase
