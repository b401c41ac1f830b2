"""Retention: deletes what clients have stored (responses, chat completions, answers of idempotent requests) when it is
too old, or too much of one owner. How long and how much: `Retention`, from gaia.toml.

    RetentionSweeper(runtime).start()     # a background task of the runtime, one however many applications it has

It deletes once a minute, and earlier when much was recorded since. Each transaction deletes a few, so that other
commits come in between, and it continues until nothing is left to delete.
"""

import asyncio
import logging

from gaia_core import GaiaError, Runtime
from gaia_http.door._keyed_turn import KEYED
from gaia_http.openai.chat._stored_completions import CHAT
from gaia_http.openai.responses.stored._request_note import RESPONSES

_log = logging.getLogger(__name__)

MAX_ANSWERS = 20_000
"""Of all owners together."""

_TASK = "gaia retention"
_STORED = (RESPONSES, CHAT)
_RECORDS = (KEYED,)
"""What is recorded of the turn of an idempotent request, until its answer is kept: nobody may have come back for it."""

_SESSIONS_AT_ONCE = 100
_ANSWERS_AT_ONCE = 200
_LOOK_SECONDS = 1.0
_SWEEP_SECONDS = 60.0
_SHARE = 20
"""It deletes when this part of an owner's bytes was recorded since, by whomever."""


class RetentionSweeper:
    """Belongs to one application."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def start(self) -> None:
        """Delete until the runtime closes."""
        background = self._runtime.background
        if all(task.name != _TASK for task in background.tasks):
            background.keep(_TASK, self.run)

    async def run(self, look_seconds: float = _LOOK_SECONDS) -> None:
        """Delete what is too old or too much, once a minute and when much was recorded."""
        loop = asyncio.get_running_loop()
        recorded = due = 0.0
        while True:
            retention = self._runtime.catalog.retention
            much = min(retention.stored_bytes, retention.answer_bytes) // _SHARE
            if loop.time() >= due or self._recorded - recorded > much:
                recorded, due = self._recorded, loop.time() + _SWEEP_SECONDS
                try:
                    await self.sweep()
                except GaiaError as error:
                    _log.warning("old stored responses and answers can't be deleted: %s", error)
            await asyncio.sleep(look_seconds)

    @property
    def _recorded(self) -> int:
        return self._runtime.journal.stats().bytes

    async def sweep(self) -> None:
        """Delete what is too old or too much now. Raises GaiaError."""
        retention = self._runtime.catalog.retention
        await self._expire(_STORED, retention.stored_seconds, retention.stored_bytes)
        await self._expire(_RECORDS, retention.answer_seconds, retention.answer_bytes)
        left = _ANSWERS_AT_ONCE
        while left == _ANSWERS_AT_ONCE:
            left = await self._runtime.journal.answer_sweep(
                max_age=retention.answer_seconds,
                keep=MAX_ANSWERS,
                max_bytes=retention.answer_bytes,
                limit=_ANSWERS_AT_ONCE,
            )

    async def _expire(self, surfaces: tuple[str, ...], max_age: float, max_bytes: int) -> None:
        left = _SESSIONS_AT_ONCE
        while left == _SESSIONS_AT_ONCE:
            left = await self._runtime.sessions.expire(
                surfaces, max_age=max_age, max_bytes=max_bytes, limit=_SESSIONS_AT_ONCE
            )
