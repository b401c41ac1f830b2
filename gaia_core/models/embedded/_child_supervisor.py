"""One run of the child process, seen from its parent: started, its address, how it ended."""

import asyncio
import logging
import os
import secrets
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

from gaia_core.child_environ import PYTHON, child_environ
from gaia_core.models.embedded._child_process import FAILED, LISTENING, LOADED, REFUSED, UNLOADABLE
from gaia_core.models.embedded._fault import ChildError, ChildFault, crashed, failed, refused, unloadable
from gaia_core.uninterrupted import uninterrupted

_log = logging.getLogger(__name__)

# By its path and not by -m: it needs nothing of gaia_core, and is there sooner without. -P: nor what lies beside it.
_PROGRAM = ("-P", str(Path(__file__).with_name("_child_process.py")))
_LOAD_SECONDS = 60.0
_START_SECONDS = 120.0
_ENDING_SECONDS = 5.0
_LAST_LINES = 12
_LINE_BYTES = 2**16
_KEY_BYTES = 32
_COMPUTING = ("OMP_*", "GOMP_*", "KMP_*", "GGML_*", "CUDA_*", "NVIDIA_*", "HIP_*", "ROCR_*", "HSA_*", "VK_*")
"""How its threads and graphics cards are configured."""


class Child:
    """A running child that listens at *url*, for who has its *key*. Used by the one task that started it, except for
    `pid`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        """The last lines of its log. Appended by `_hear`."""
        self._heard = asyncio.create_task(self._hear(), name="gaia embedded model's log")
        """Reads the child's log until its end; nobody cancels it. `ended` and `stop` await it, after the process's
        end."""
        self._said = ""
        """The last line of its output. Written by `_answer`, which nobody calls once it listens."""
        self.url = ""
        """Set by `start`."""
        self.key = ""
        """The bearer token of requests to the child. Made by `start`; only this process and the child know it."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    async def start(cls, weights: Path, context_tokens: int, slots: int, libraries: Path | None = None) -> "Child":
        """Start it and wait until it listens. Raises ChildError; nothing is left running then, nor when cancelled.

        *libraries*: a folder in which it finds shared libraries that this system lacks.
        """
        child = await cls._spawn((str(weights), str(context_tokens), str(slots)), libraries)
        child.key = secrets.token_urlsafe(_KEY_BYTES)
        assert child._process.stdin is not None  # noqa: SLF001
        # The pipe has room for it. When the child has ended, `_until` says so.
        child._process.stdin.write(f"{child.key}\n".encode())  # noqa: SLF001
        child.url = await child._until(LISTENING, _START_SECONDS)  # noqa: SLF001  # one of its own
        return child

    @classmethod
    async def check(cls, libraries: Path | None = None) -> None:
        """See whether the runtime can be loaded here, by a child that does nothing else. Raises as `start` does."""
        child = await cls._spawn((), libraries)
        await child._until(LOADED, _LOAD_SECONDS)  # noqa: SLF001
        await child.stop()

    @classmethod
    async def _spawn(cls, arguments: tuple[str, ...], libraries: Path | None) -> "Child":
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *_PROGRAM, *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
                env=child_environ(os.environ, *PYTHON, *_COMPUTING, given=_settings(libraries)),
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise ChildError(ChildFault(f"its process can't be started: {why}", str(error))) from None
        return cls(process)

    async def _until(self, word: str, seconds: float) -> str:
        """What it says after *word*. When it ends before, or doesn't say it within *seconds*, it is stopped."""
        try:
            async with asyncio.timeout(seconds):
                return await self._answer(word)
        except TimeoutError:
            await self.stop()
            raise ChildError(ChildFault(f"it was not ready within {seconds:g} s", " / ".join(self._last))) from None
        except BaseException:
            # Also when this task is cancelled: no child is left behind.
            await self.stop()
            raise

    async def _answer(self, word: str) -> str:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._said = line.decode("utf-8", "replace").strip()
            if self._said.startswith(word):
                return self._said.removeprefix(word)
            _log.debug("embedded model: %s", self._said)
        raise ChildError(await self.ended())

    async def ended(self) -> ChildFault:
        """Wait for its end, and say why it ended."""
        code = await self._process.wait()
        # The process has ended, but its last words may still be in the pipe.
        await asyncio.wait((self._heard,))
        last = tuple(self._last)
        for word, fault in ((REFUSED, refused), (FAILED, failed)):
            if self._said.startswith(word):
                return fault(self._said.removeprefix(word), last)
        if self._said.startswith(UNLOADABLE):
            return unloadable(self._said.removeprefix(UNLOADABLE))
        return crashed(code, last)

    async def stop(self) -> None:
        """End it and wait for its end, however often this is cancelled."""
        await uninterrupted(self._stop())

    async def _stop(self) -> None:
        # Closing its standard input is enough, unless it hangs.
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


def _settings(libraries: Path | None) -> dict[str, str]:
    """The child's own variables: how its threads wait, unless that is set already, and where it finds *libraries*."""
    # libgomp's threads spin while they wait. On two cores at a load of 6 to 8: 5 to 8 tokens/s so, 29 to 39 when they
    # sleep; and after an answer a spinning child takes a core for seconds, a sleeping one nothing.
    settings = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    if libraries is None:
        return settings
    # The user's own come first. An empty entry would be the current folder.
    path = os.pathsep.join(part for part in (os.environ.get("LD_LIBRARY_PATH"), str(libraries.absolute())) if part)
    return settings | {"LD_LIBRARY_PATH": path}
