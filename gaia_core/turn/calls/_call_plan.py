"""Plans: what becomes of a tool call, as far as that is known when it is planned."""

from typing import Any, TypeAlias

import attrs

from gaia_core.events import Outcome
from gaia_core.facts import Asked, Decided
from gaia_core.frozen_types import made_once
from gaia_core.messages import ToolCall
from gaia_core.tools import Bound


@attrs.frozen
class ReadyCall:
    """A validated call that may run. *opened*: its start is recorded already; *replies* are those of its first run."""

    call: ToolCall
    bound: Bound
    arguments: Any
    decided: Decided | None = None
    opened: bool = False
    replies: tuple[str | None, ...] = ()


@attrs.frozen
class CallForApproval:
    """A validated call that waits for approval. *opened*: that is recorded already. *withdrawn*: what an agent that has
    changed since asked for the same call."""

    call: ToolCall
    bound: Bound
    arguments: Any
    asked: Asked
    opened: bool = False
    withdrawn: Asked | None = None


@attrs.frozen
class RefusedCall:
    """A call that is not run; *content* tells the model why."""

    __attrs_pre_init__ = made_once

    call: ToolCall
    outcome: Outcome
    content: str
    decided: Decided | None = None


Plan: TypeAlias = ReadyCall | CallForApproval | RefusedCall
