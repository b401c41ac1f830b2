"""`check_toolset`: the nine promises that a toolset keeps, so that any agent may hold it in any number of sessions."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from gaia_core.frozen_types import made_once
from gaia_core.testing._call_checks import Behaviour
from gaia_core.testing._immutability import mutable
from gaia_core.testing._leaks import left, open_now, watched
from gaia_core.testing._module_state import changed, kept, state
from gaia_core.testing._other_process import ElsewhereError, fingerprints
from gaia_core.testing._sample_arguments import fits, sample
from gaia_core.tools import Toolset, nearest

PROMISES = (
    "frozen",
    "repeatable",
    "no module state",
    "deterministic schema",
    "closes what it opens",
    "cancellation",
    "timeout",
    "result size",
    "errors in words",
)
"""
| promise | what is looked at |
|---|---|
| frozen | nothing below the toolset can be changed |
| repeatable | the same arguments give the same definitions and equal recipes |
| no module state | the package's modules keep nothing that can be changed, and use changes nothing of the process |
| deterministic schema | fresh processes, with other hash seeds, give the same definitions |
| closes what it opens | files, sockets, threads and processes are closed when the session is |
| cancellation | a cancelled call ends, and the next one is as before |
| timeout | a call whose time is over ends, on a thread too |
| result size | a result is bounded by the tool itself |
| errors in words | whatever goes wrong is a ToolError, for arguments that a model may well give |
"""

_READ: frozenset[str] = frozenset({"read"})


@attrs.frozen
class Fault:
    """A promise that is broken, and how."""

    __attrs_pre_init__ = made_once

    promise: str
    words: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.words}"


@attrs.frozen
class Checked:
    """What `check_toolset` looked at: the tools that were called, and those that *uncalled* excused."""

    __attrs_pre_init__ = made_once

    called: tuple[str, ...]
    uncalled: tuple[str, ...]


class ConformanceError(AssertionError):
    """The toolset breaks promises; *faults* says which and how."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        super().__init__("\n".join((f"{name} breaks promises of a toolset:", *(f"- {fault}" for fault in faults))))


def check_toolset(
    factory: Callable[..., Toolset],
    arguments: Mapping[str, Any] | Callable[[Path], Mapping[str, Any]] | None = None,
    *,
    calls: Mapping[str, Mapping[str, Any]] | None = None,
    slow: Mapping[str, Mapping[str, Any]] | None = None,
    uncalled: Iterable[str] = (),
    package: str | None = None,
    grace: float = 5.0,
    result_chars: int = 1_000_000,
) -> Checked:
    """Check the nine `PROMISES` on what *factory* makes. Raises ConformanceError, which lists all that is broken.

    | argument | meaning |
    |---|---|
    | arguments | the factory's; a function is given a temporary folder, such as `lambda folder: {"root": folder}` |
    | calls | a valid call for a tool, by name. For tools that only read one is made up, where that can be done |
    | slow | calls that take longer than a second, for cancellation and time limits |
    | uncalled | tools that must not be called here, such as those that need a network |
    | package | the package whose modules are looked at; default: the factory's |
    | grace | seconds within which a call that was stopped has to end |
    | result_chars | the most characters of a result |

    Tools that only read are also called with odd texts that fit their schema. Raises ValueError for a tool that is
    neither called nor excused, and for calls that don't fit. It makes an event loop and processes of its own, and may
    be called from any test.
    """
    with tempfile.TemporaryDirectory(prefix="gaia-check-") as temporary:
        folder = Path(temporary)
        given = arguments(folder) if callable(arguments) else dict(arguments or {})
        name = getattr(factory, "__qualname__", repr(factory))
        toolset = factory(**given)
        excused = frozenset(uncalled)
        every = _calls(toolset, calls or {}, slow or {}, excused)
        faults: list[Fault] = []

        def say(promise: str, words: str) -> None:
            fault = Fault(promise, words)
            if fault not in faults:
                faults.append(fault)

        _declared(factory, given, toolset, say)
        owner = package or factory.__module__.split(".")[0]
        for words in state(owner):
            say("no module state", words)
        reads = frozenset(tool.name for tool in toolset if tool.effects <= _READ)
        behaviour = Behaviour(toolset, every, slow or {}, reads, grace, result_chars, say)
        before = kept(owner)
        _used(behaviour, say)
        for words in changed(before, kept(owner)):
            say("no module state", words)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    if faults:
        raise ConformanceError(name, tuple(sorted(faults, key=lambda fault: PROMISES.index(fault.promise))))
    return Checked(tuple(sorted({*every, *(slow or {})})), tuple(sorted(excused)))


def _calls(
    toolset: Toolset, calls: Mapping[str, Mapping[str, Any]], slow: Mapping[str, Any], uncalled: frozenset[str]
) -> dict[str, Mapping[str, Any]]:
    """The call of each tool that is called. Raises ValueError."""
    for name in (*calls, *slow, *uncalled):
        if name not in toolset:
            raise ValueError(f"there is no tool {name!r}.{nearest(name, toolset.names)}")
    for name, arguments in (*calls.items(), *slow.items()):
        if not fits(toolset[name], arguments):
            raise ValueError(f"the call of {name!r} that was given does not fit its schema: {dict(arguments)}")
    made: dict[str, Mapping[str, Any]] = {}
    for tool in toolset:
        if tool.name in uncalled:
            continue
        if tool.name in calls:
            made[tool.name] = calls[tool.name]
        elif tool.name in slow:
            continue
        elif tool.effects <= _READ and tool.name not in slow and (invented := sample(tool)) is not None:
            made[tool.name] = invented
        else:
            raise ValueError(f"tool {tool.name!r}: give a valid call in calls=, or name it in uncalled=")
    return made


def _declared(
    factory: Callable[..., Toolset], given: Mapping[str, Any], toolset: Toolset, say: Callable[[str, str], None]
) -> None:
    """The promises that show without a call."""
    for path in mutable(toolset, "toolset"):
        say("frozen", f"{path} can be changed; use a frozen value or a tuple")
    again = factory(**given)
    if again.fingerprint != toolset.fingerprint:
        say("repeatable", "the same arguments give other definitions each time")
    if [member.resource for member in again.members] != [member.resource for member in toolset.members]:
        say("repeatable", "the same arguments give recipes that are not equal, so that sessions can't share a resource")
    try:
        others = fingerprints(factory, given)
    except ElsewhereError as error:
        say("deterministic schema", str(error))
        return
    if {*others, toolset.fingerprint} != {toolset.fingerprint}:
        say("deterministic schema", "another process, with another hash seed, gives other definitions")


def _used(behaviour: Behaviour, say: Callable[[str, str], None]) -> None:
    """Call the tools, on a thread and event loop of their own; see what is left open."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            behaviour.run()
        except BaseException as error:  # noqa: BLE001  # raised below, where the caller is
            failed.append(error)

    before = open_now()
    with watched() as said:
        thread = threading.Thread(target=run, name="gaia-check", daemon=True)
        thread.start()
        thread.join()
    for words in (*left(before), *said):
        say("closes what it opens", f"{words} is open after the session was closed" if words not in said else words)
    if failed:
        raise failed[0]
