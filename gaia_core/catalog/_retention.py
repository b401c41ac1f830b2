"""Retention: how long what clients have stored is kept, and how much of it."""

import attrs

from gaia_core.errors import ConfigError
from gaia_core.frozen_types import made_once, typed

_DAY, _HOUR = 86_400.0, 3_600.0


@attrs.frozen(kw_only=True, field_transformer=typed)
class Retention:
    """How long and how much is kept for each owner (each API key; without keys all clients are one).

    *stored_days*, *stored_bytes*: stored responses and chat completions, from their last use. *answer_hours*,
    *answer_bytes*: the answers of requests with an `Idempotency-Key`. The oldest go first. `inf` days or hours: no
    limit. Conversations, and the sessions of the UI and the terminal, are kept until they are deleted. Raises
    ConfigError.
    """

    __attrs_pre_init__ = made_once

    stored_days: float = 30.0
    stored_bytes: int = 1_000_000_000
    answer_hours: float = 24.0
    answer_bytes: int = 200_000_000

    def __attrs_post_init__(self) -> None:
        for name in ("stored_days", "stored_bytes", "answer_hours", "answer_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"retention.{name} must be more than 0, not {getattr(self, name)}")

    @property
    def stored_seconds(self) -> float:
        """*stored_days* in seconds."""
        return self.stored_days * _DAY

    @property
    def answer_seconds(self) -> float:
        """*answer_hours* in seconds."""
        return self.answer_hours * _HOUR
