"""One run of the child process, seen from its parent: started, its address, how it ended."""

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from gaia_core.errors import GaiaError
from gaia_core.models.embedded._child_process import LISTENING

_log = logging.getLogger(__name__)

# By its path and not by -m: it needs nothing of gaia_core, and is there sooner without. -P: nor what lies beside it.
_PROGRAM = ("-P", str(Path(__file__).with_name("_child_process.py")))
_START_SECONDS = 120.0
_ENDING_SECONDS = 5.0
_LAST_LINES = 12
_LINE_BYTES = 2**16
_WORDS = 1_500


class ChildError(GaiaError):
    """The child did not start, or ended by itself; says how, in its own last words."""


class Child:
    """A running child that listens at *url*."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._heard = asyncio.create_task(self._hear(), name="gaia embedded model's log")
        self.url = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    async def start(cls, weights: Path, context_tokens: int, slots: int) -> "Child":
        """Start it and wait until it listens. Raises ChildError; nothing is left running then, nor when cancelled."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_PROGRAM, str(weights), str(context_tokens), str(slots)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
            )
        except OSError as error:
            raise ChildError(f"its process can't be started: {error.strerror or error}") from None
        child = cls(process)
        try:
            async with asyncio.timeout(_START_SECONDS):
                child.url = await child._address()
        except TimeoutError:
            await child.stop()
            raise ChildError(f"it was not ready within {_START_SECONDS:g} s") from None
        except BaseException:
            await child.stop()
            raise
        return child

    async def _address(self) -> str:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode("utf-8", "replace").strip()
            if text.startswith(LISTENING):
                return text.removeprefix(LISTENING)
            _log.debug("embedded model: %s", text)
        raise ChildError(await self.ended())

    async def ended(self) -> str:
        """Wait for its end, and say how it ended."""
        code = await self._process.wait()
        await asyncio.wait((self._heard,))
        return f"{_how(code)}{': ' if self._last else ''}{_short(' / '.join(self._last))}"

    async def stop(self) -> None:
        """End it. Closing its standard input is enough, unless it hangs."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_ENDING_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.wait((self._heard,))

    async def _hear(self) -> None:
        """Keep its last words, so that its end can be explained; and keep its pipe from filling up."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line without an end
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._last.append(text)
                _log.debug("embedded model: %s", text)


def _how(code: int) -> str:
    if code >= 0 or os.name != "posix":
        return f"its process ended with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"its process was ended by {name}"


def _short(text: str) -> str:
    return text if len(text) <= _WORDS else f"…{text[-_WORDS:]}"
