"""A circuit breaker: when an endpoint that failed is left alone, and when it is tried again.

    closed ──(failures in a row)──▶ open ──(back-off over)──▶ half-open ──(trial fails)──▶ open, for twice as long
       ▲                                                          │
       └──────────────────(trial answers)─────────────────────────┘

It knows no endpoint and waits for nothing: who asks is admitted or not, and tells how it went.
"""

import time
from collections.abc import Callable

import msgspec

from gaia_core.models._protocol import BreakerState

FAILURES = 3
BACKOFF_SECONDS = 1.0
LONGEST_SECONDS = 30.0


class Admission(msgspec.Struct, frozen=True, gc=False):
    """One request's leave to ask: what the breaker knew of failures then, and whether this is the half-open trial."""

    known: int
    trial: bool


class Breaker:
    """See the module's text.

    *failures* in a row open it for *backoff* seconds, doubled after each failed trial up to *longest*. Requests that
    ran at once and fail together count as one failure: a server that restarts breaks them all. Failures that may be a
    request's own count once per session, so that one prompt which breaks the server never shuts it for other sessions.
    *clock* gives seconds.
    """

    def __init__(
        self,
        failures: int = FAILURES,
        backoff: float = BACKOFF_SECONDS,
        longest: float = LONGEST_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_backoff = self._backoff = backoff
        self._longest = longest
        self._clock = clock
        self._failures = 0
        self._counted = 0
        self._open_until: float | None = None
        self._trial = False
        self._sessions: set[str] = set()
        """The sessions whose failures were counted in this row. Emptied by an answer."""

    @property
    def state(self) -> BreakerState:
        """Closed: all are admitted. Open: nobody. Half-open: one, the trial."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half_open"

    @property
    def failures(self) -> int:
        """Failures in a row."""
        return self._failures

    @property
    def retry_after(self) -> float:
        """Seconds until it is worth to ask again; 0 when it is now. While a trial runs, the first back-off."""
        if self._open_until is None:
            return 0.0
        left = max(0.0, self._open_until - self._clock())
        return max(left, self._first_backoff) if self._trial else left

    def admit(self) -> Admission | None:
        """Admit a request; None when the breaker is open, or a trial runs. The caller must report the outcome."""
        if self._open_until is None:
            return Admission(self._counted, trial=False)
        if self._trial or self.state == "open":
            return None
        self._trial = True
        return Admission(self._counted, trial=True)

    def answers(self, admission: Admission) -> None:
        """The answer has begun: the trial closes the breaker, and the next failure would open it again."""
        if admission.trial and self._trial:
            self._trial = False
            self._open_until = None
            self._failures = self._limit - 1
            self._sessions.clear()

    def answered(self, admission: Admission) -> None:
        """The answer came to its end, and all is forgotten; but what began before a failure says nothing about now."""
        if admission.known == self._counted:
            self._failures = 0
            self._sessions.clear()
            self._backoff = self._first_backoff

    def failed(self, admission: Admission, session: str = "") -> None:
        """No answer, or half of one. *session*: whose request that may be the fault of; "": of none."""
        self.untold(admission)
        if admission.known != self._counted or (session in self._sessions and not admission.trial):
            return
        if session:
            self._sessions.add(session)
        self._counted += 1
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = self._clock() + self._backoff
            self._backoff = min(self._longest, self._backoff * 2)

    def untold(self, admission: Admission) -> None:
        """It ended without an answer and without a failure, as when the client went: the trial is free for another."""
        if admission.trial:
            self._trial = False
