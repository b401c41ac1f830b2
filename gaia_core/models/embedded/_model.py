"""EmbeddedModel: weights, a child process that serves them, and prompted tools over it.

It fetches and starts in the background, restarts after a crash, and says at any time how far it is. A request that
comes before it is ready waits for it: its stream begins with a `ModelRetried` for each step of the progress (a phase,
or a percent of the download), so that clients know what they wait for and that the connection lives.

A fault that a restart can't mend (a library that this system lacks, damaged weights, a crash again and again) is told
in each answer, with what to do. It is looked at again after ten minutes; and a runtime that can't be loaded, which is
quickly seen, when a request comes: that is answered as things are then.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec

from gaia_core.errors import ConfigError
from gaia_core.events import ModelRetried
from gaia_core.models._prompted_tools import PromptedTools
from gaia_core.models._protocol import Delta, ModelError, ModelRequest
from gaia_core.models.embedded._child_supervisor import Child
from gaia_core.models.embedded._fault import ChildError, ChildFault
from gaia_core.models.embedded._libraries import ReplacementLibrary, load_runtime, replacements
from gaia_core.models.embedded._state import State
from gaia_core.models.embedded._weight_sources import WeightSource
from gaia_core.models.embedded._weights import (
    Weights,
    WeightsError,
    cache_folder,
    checked_file,
    fetch,
    given_path,
    libraries_folder,
    sources_of,
)
from gaia_core.models.embedded._weights_choice import WeightsChoice, chosen_weights
from gaia_core.models.endpoint._endpoint import Endpoint, EndpointConfig

_log = logging.getLogger(__name__)

TOKENS_OF_A_SLOT = 8_192

_STEADY_SECONDS = 60.0
"""A child that ran for so long has not failed to start: the next restart is quick again."""
_CRASHES = 5
"""So often, one after another, it is restarted."""
_LASTING_RESTARTS = 600
"""After a lasting fault the next attempt follows in this many times the first pause after a crash."""
_LOOK_RESTARTS = 5
"""The same for requests that have the runtime looked at again."""
_FIRST_FETCH_AGAIN_SECONDS, _LONGEST_FETCH_AGAIN_SECONDS = 60.0, 600.0
_FIRST_TOKEN_SECONDS = 900.0
_LONGEST_RETRY_AFTER_SECONDS = 60.0
_BECOMES_READY = frozenset(("idle", "waiting", "fetching", "checking", "starting", "ready"))
"""The phases in which a request waits. It is `ready` without a model for as long as a child takes to end."""
_LONGEST_RESTART_WAIT_SECONDS = 30.0
"""A request also waits for a restart after a crash, when it comes within this many seconds."""


def _repeatable(request: ModelRequest) -> ModelRequest:
    """*request*, whose seed gives the same text each time: its prompt is computed anew. What is taken from the prompt
    cache may have been computed in batches of another size, for which the model's numbers "are not guaranteed to be
    bit-for-bit identical", so that the option "can cause nondeterministic results" (source: llama.cpp, tools/server
    README.md, `cache_prompt`)."""
    sampling = request.sampling
    further = (*sampling.further, ("cache_prompt", "false"))
    return msgspec.structs.replace(request, sampling=msgspec.structs.replace(sampling, further=further))


class EmbeddedModel:
    """See the module's text. Satisfies `Model`; `aclose` ends its child. Nothing is started outside an event loop.

    *weights*: a GGUF file; by default that of GAIA_WEIGHTS, else *default* from the cache or from *sources* (by
    default, its own). Without *default*: `chosen_weights`, and its fallback when no source has them.
    *context_tokens* are divided among *slots*, the requests at once (default: 8,192 each). *libraries* replace those
    that the runtime expects of the system. *restart_seconds*: the first pause after a crash; it doubles.
    """

    def __init__(
        self,
        weights: Path | None = None,
        *,
        context_tokens: int | None = None,
        slots: int = 4,
        default: Weights | None = None,
        sources: tuple[WeightSource, ...] | None = None,
        libraries: tuple[ReplacementLibrary, ...] | None = None,
        environ: Mapping[str, str] | None = None,
        restart_seconds: float = 1.0,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._given = given_path(weights, environ)
        self._folder = cache_folder(environ)
        choice = WeightsChoice(default, "given") if default is not None else chosen_weights(environ, self._folder)
        self._default = choice.weights
        """Set by `_weights` to the fallback when no source has it."""
        self._fallback = choice.fallback if sources is None else None
        """Taken once, by `_weights`, when no source has the chosen ones."""
        self._environ = environ
        self._sources = sources_of(self._default, environ) if sources is None else sources
        self._libraries_folder = libraries_folder(environ)
        self._libraries = replacements() if libraries is None else libraries
        self._context_tokens = context_tokens or slots * TOKENS_OF_A_SLOT
        self._slots = slots
        self._restart_seconds = restart_seconds
        self._state = State("idle")
        """Written by `_tell`: from the task of `_run`, from `_look_again` (a caller's task) and from `aclose`."""
        self._changed = asyncio.Event()
        """Set when the state changes, and replaced by a new one in the same step (`_tell`): each wakes its waiters
        once."""
        self._began_fetching: tuple[float, int] | None = None
        """When the present download began, and its bytes then; None when none runs. Written by `_tell`."""
        self._model: PromptedTools | None = None
        """Set by `_serve` while its child listens. A request that has it may outlive it: its stream then breaks off."""
        self._child: Child | None = None
        """Set by `_serve`, reset when the child has ended."""
        self._running: asyncio.Task[None] | None = None
        """The task of `_run`. Started by `_begin` at construction or at the first request; cancelled and awaited by
        `aclose`, which leaves it here. What fails in it is logged, and tried again after a pause."""
        self._unloadable = False
        """Whether the last fault was a runtime that can't be loaded. Written by `_run`; reset by `_look_again`."""
        self._look_at = 0.0
        """When a request may look again, on the loop's clock. Written by `_look_again` before it awaits, so that one
        caller looks at a time."""
        self._awake = asyncio.Event()
        """Set by `_look_again`, cleared by `_run` before its pause, which this ends."""
        with suppress(RuntimeError):
            self._begin()

    def __repr__(self) -> str:
        return f"EmbeddedModel({self.name!r}, {str(self._state)!r})"

    @property
    def name(self) -> str:
        """The weights' name, for people."""
        return self._given.name if self._given is not None else self._default.name

    @property
    def state(self) -> State:
        """How far it is."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    async def states(self) -> AsyncIterator[State]:
        """The state now, and each later one that is still true when it is asked for; ends when the model is closed."""
        while True:
            changed, state = self._changed, self._state
            yield state
            if state.phase == "closed":
                return
            await changed.wait()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[tuple[Delta, ...], None]:
        """See `Model`. Waits until its child listens, and says how far it is meanwhile (`ModelRetried`). Raises
        ModelError, "not_ready", when that takes somebody to act, or when no source has the weights."""
        attempt = 0
        async for state in self._until_ready():
            attempt += 1
            yield (ModelRetried(attempt, 0.0, f"the embedded model {self.name}: {state}", "not_ready"),)
        model = await self._ready()
        if request.sampling.seed is not None:
            request = _repeatable(request)
        try:
            async with aclosing(model.stream(request)) as answering:
                async for batch in answering:
                    yield batch
        except ModelError as error:
            if error.kind not in ("connect", "broken_stream"):
                raise
            words = f"the embedded model broke off ({error}). If it crashed, it restarts by itself: try again"
            raise ModelError(error.kind, words, retry_after=error.retry_after) from None

    async def count(self, request: ModelRequest) -> int | None:
        """The tokens of the prompt, tools in words and all. Raises ModelError, "not_ready" until its child listens."""
        return await (await self._ready()).count(request)

    async def _until_ready(self) -> AsyncIterator[State]:
        """Each state whose words are new, as long as waiting for the next one makes sense."""
        await self._look()
        said = ""
        while self._model is None:
            changed, state = self._changed, self._state
            restarts = state.phase == "crashed" and state.retry_after <= _LONGEST_RESTART_WAIT_SECONDS
            if state.phase not in _BECOMES_READY and not restarts:
                return
            if said != str(state) and state.phase != "ready":
                said = str(state)
                yield state
                continue  # it may have changed while the caller had this one
            await changed.wait()

    async def _ready(self) -> PromptedTools:
        """The model that its child serves. Raises ModelError, "not_ready"."""
        await self._look()
        if self._model is not None:
            return self._model
        state = self._state
        if state.lasting:
            raise ModelError("not_ready", f"the embedded model {self.name} can't run: {state.reason}")
        words = f"the embedded model {self.name} is not ready: {state}"
        raise ModelError("not_ready", words, retryable=state.phase != "closed", retry_after=state.retry_after)

    async def _look(self) -> None:
        """Begin, if that isn't done; and look again at a runtime that could not be loaded."""
        self._begin()
        if self._unloadable:
            await self._look_again()

    async def _look_again(self) -> None:
        """See whether the runtime can be loaded by now. For all who ask at about the same time, the first one does."""
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_RESTARTS * self._restart_seconds
        with suppress(ChildError):
            await Child.check()
            # The pause of `_run` may have ended during the check: then it has tried again by itself.
            if self._unloadable:
                self._unloadable = False
                self._tell(State("starting"))
                self._awake.set()

    async def aclose(self) -> None:
        """End the child, or stop fetching (what is there is kept)."""
        # First: a request that comes during the await below starts nothing, and `_run` tells nothing more.
        self._tell(State("closed"))
        if self._running is not None:
            # `_serve` stops the child on its way out.
            self._running.cancel()
            await asyncio.wait((self._running,))

    # The life of its child.

    def _begin(self) -> None:
        """Begin to fetch and to start, once. Raises RuntimeError outside an event loop."""
        if self._running is None and self._state.phase != "closed":
            asyncio.get_running_loop()
            self._running = asyncio.create_task(self._run(), name="gaia embedded model")

    async def _run(self) -> None:
        before: ChildFault | None = None
        while True:
            try:
                fault = await self._until_fault()
            except Exception as error:  # noqa: BLE001  # nobody foresaw it: it is logged, and tried again like any other
                _log.exception("the embedded model's keeper failed")
                fault = ChildFault(f"{type(error).__name__}; the log says more", repr(error))
            pause = _LASTING_RESTARTS * self._restart_seconds
            if before is None or fault.words != before.words:  # once, and not every ten minutes
                _log.error("the embedded model can't run: %s", fault.logged)
            before = fault
            # One step from here to the pause: a request that sees `_unloadable` may wake this task.
            self._unloadable = fault.unloadable
            self._awake.clear()
            self._tell(State("failed", reason=fault.words, retry_after=pause, lasting=True))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._awake.wait()
            self._unloadable = False

    async def _until_fault(self) -> ChildFault:
        """Serve, and restart after a crash; the fault that a restart can't mend."""
        crashes = 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                fault = await self._serve()
            except ChildError as error:
                fault = error.fault
            crashes = 0 if loop.time() - began > _STEADY_SECONDS else crashes + 1
            if fault.lasting:
                return fault
            if crashes > _CRASHES:
                return msgspec.structs.replace(fault, words=f"it crashed {crashes} times in a row: {fault.words}")
            pause = self._restart_seconds * 2 ** max(0, crashes - 1)
            _log.error("the embedded model crashed: %s; it restarts in %g s", fault.logged, pause)
            self._tell(State("crashed", reason=f"{fault.words}; it restarts in {pause:g} s", retry_after=pause + 1))
            await asyncio.sleep(pause)

    async def _serve(self) -> ChildFault:
        """One run of the child, on weights that are fetched first; why it ended. Raises ChildError: it didn't start."""
        # First, so that no weights are downloaded where no runtime can load them.
        library = await load_runtime(self._libraries_folder, self._libraries, self._tell)
        if library is not None:
            _log.warning("the embedded model: %s", library)
        libraries = library.file(self._libraries_folder).path.parent if library is not None else None
        weights = await self._weights()
        self._tell(State("starting"))
        child = self._child = await Child.start(weights, self._context_tokens, self._slots, libraries)
        config = EndpointConfig(
            url=f"{child.url}/v1", model="embedded", first_token_timeout=_FIRST_TOKEN_SECONDS, retries=0
        )
        model = self._model = PromptedTools(Endpoint(config, secret=child.key))
        try:
            _log.info("the embedded model %s is ready at %s, process %d", self.name, child.url, child.pid)
            self._tell(State("ready"))
            return await child.ended()
        finally:
            # First, so that no new request gets a model whose child has ended. Also when this task is cancelled.
            self._model = self._child = None
            await model.aclose()
            await child.stop()

    async def _weights(self) -> Path:
        """The path of the weights; tries again and again until they are there."""
        pause = _FIRST_FETCH_AGAIN_SECONDS
        while True:
            try:
                if self._given is not None:
                    return checked_file(self._given)
                return await fetch(self._default, self._folder, self._sources, self._tell)
            except (WeightsError, ConfigError) as error:
                _log.error("the embedded model has no weights: %s", error)
                if self._fallback is not None and self._given is None:
                    self._default, self._fallback = self._fallback, None
                    self._sources = sources_of(self._default, self._environ)
                    _log.warning("the embedded model: %s instead", self._default.name)
                    continue  # at once
                self._tell(State("failed", reason=self._without_folders(str(error)), retry_after=pause))
            await asyncio.sleep(pause)
            pause = min(_LONGEST_FETCH_AGAIN_SECONDS, 2 * pause)

    def _without_folders(self, text: str) -> str:
        """*text* for clients: they may learn a file's name, but not where it is on this machine."""
        given = (self._given.parent,) if self._given is not None else ()
        for folder in (*given, self._folder, Path(sys.prefix)):
            if len(folder.parts) > 1:
                text = text.replace(f"{folder}{os.sep}", "").replace(str(folder), folder.name)
        return text

    def _tell(self, state: State) -> None:
        if self._state.phase == "closed":
            return
        if state.phase == "fetching":
            state = self._estimated(state)
        else:
            self._began_fetching = None
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _estimated(self, state: State) -> State:
        """*state* with when it should be done, from how fast it went until now."""
        now = asyncio.get_running_loop().time()
        if self._began_fetching is None or state.done < self._began_fetching[1]:
            self._began_fetching = (now, state.done)
        began, done = self._began_fetching
        rate = (state.done - done) / (now - began) if now > began else 0.0
        left = (state.total - state.done) / rate if rate else _LONGEST_RETRY_AFTER_SECONDS
        after = max(2.0, min(_LONGEST_RETRY_AFTER_SECONDS, round(left)))
        return State(state.phase, state.done, state.total, state.source, retry_after=after)
