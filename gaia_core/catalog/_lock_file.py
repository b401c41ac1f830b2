"""The lock: the tool definitions that models are sent, as somebody reviewed them, in `gaia.lock` beside `gaia.toml`.

Where there is a lock, no tool reaches a model with another definition, other effects or another need of approval than
it says (`Lock.check`), whether it came with a new version of a package or from a server that lists its tools at run
time. Definitions stand in the file in full, so that it reads as a diff in review, and so does a refusal.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gaia_core.agent import Agent, agents_below
from gaia_core.errors import ConfigError, LockError
from gaia_core.fingerprint import fingerprint_of
from gaia_core.nesting import ENVELOPE_LEVELS, MAX_NESTING, check_nesting
from gaia_core.tools import EFFECTS, Bound, Effect, ToolDefinition, Toolset, define
from gaia_core.visible_text import visible

LOCK_NAME = "gaia.lock"

_VERSION = 1
_MOST_LINES = 80
_MOST_CHARS = 240


class Schema:
    """A JSON schema: an object in the file, canonical bytes here, so that equal ones are equal. A frozen value.

    No attrs class: msgspec would write that by its fields and never ask `_written`.
    """

    __slots__ = ("encoded",)
    encoded: bytes

    def __init__(self, encoded: bytes) -> None:
        object.__setattr__(self, "encoded", encoded)

    @classmethod
    def of(cls, encoded: bytes) -> "Schema":
        """The schema of these bytes, whatever their white space."""
        return cls(msgspec.json.encode(msgspec.json.decode(encoded)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Schema can't be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.encoded == other.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __repr__(self) -> str:
        return f"Schema({self.encoded!r})"


class LockedTool(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One tool as it was reviewed. *origin* is its toolset, *package* the distribution; both are for people."""

    name: str
    origin: str
    package: str
    fingerprint: str
    """`d1:` and the SHA-256 of the definition as it is sent."""
    effects: tuple[Effect, ...]
    approval: bool
    description: tuple[str, ...]
    """By line."""
    parameters: Schema

    @property
    def definition(self) -> ToolDefinition:
        """What a model is told."""
        return define(self.name, "\n".join(self.description), self.parameters.encoded)


class LockedTools(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The tools of one agent, by name, and their instructions by line. *fingerprint* is the toolset's."""

    agent: str
    fingerprint: str
    instructions: tuple[str, ...]
    tools: tuple[LockedTool, ...]


class Lock(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What was reviewed. Compared by content; *version* is the file's format."""

    version: int
    agents: tuple[LockedTools, ...]

    @classmethod
    def of(cls, agents: Iterable[Agent]) -> "Lock":
        """The lock of the tools of *agents*, and of those of their sub-agents, as they are now."""
        locked = {each.name: locked_tools(each.name, each.tools) for agent in agents for each in agents_below(agent)}
        return cls(_VERSION, tuple(locked[name] for name in sorted(locked)))

    def tools(self, agent: str) -> LockedTools:
        """What was reviewed of *agent*; nothing for one that isn't here."""
        return next((each for each in self.agents if each.agent == agent), LockedTools(agent, "", (), ()))

    def check(self, agent: str, toolset: Toolset) -> tuple[str, ...]:
        """What in *toolset*, the tools of *agent*, nobody has reviewed: a text for each, with a diff. () for nothing.

        A reviewed tool or line that isn't there any more is no fault: an agent may have less.
        """
        reviewed = self.tools(agent)
        if reviewed.fingerprint == toolset.fingerprint and _marks(reviewed) == _marks(locked_tools(agent, toolset)):
            return ()
        return tuple(_refusals(reviewed, locked_tools(agent, toolset)))

    def reviewed(self, agents: Iterable[Agent]) -> tuple[tuple[Agent, ...], tuple["RefusedTools", ...]]:
        """*agents* without the tools that were not reviewed; and what those lost that lost some.

        For tools that are known at run time only: reviewed tools stay, changed ones are not sent to any model.
        """
        kept: list[Agent] = []
        refused: list[RefusedTools] = []
        for agent in agents:
            problems = self.check(agent.name, agent.tools)
            if problems:
                known = [name for name in agent.tools.names if not self.check(agent.name, agent.tools.only(name))]
                kept.append(attrs.evolve(agent, tools=agent.tools.only(*known)))
                lost = [member for member in agent.tools.members if member.name not in known]
                names = ", ".join(member.name for member in lost)
                words = (
                    f"tools are left out, because {LOCK_NAME} has others: {names}\n{refusal(chr(10).join(problems))}"
                )
                servers = sorted({member.server for member in lost if member.server})
                refused.append(RefusedTools(agent.name, words, tuple(servers)))
            else:
                kept.append(agent)
        return tuple(kept), tuple(refused)

    def encode(self) -> bytes:
        """The file's content: JSON that reads as a diff."""
        return msgspec.json.format(msgspec.json.encode(self, enc_hook=_written), indent=2) + b"\n"


class RefusedTools(msgspec.Struct, frozen=True, gc=False):
    """What *agent* is without. *words*: a line with the tools' names, then the reason; *servers*: whose tools they
    are."""

    agent: str
    words: str
    servers: tuple[str, ...]


def locked_tools(agent: str, toolset: Toolset) -> LockedTools:
    """The entry that *toolset* would have."""
    members = tuple(_locked(member) for member in toolset.members)
    return LockedTools(agent, toolset.fingerprint, tuple(toolset.instructions.splitlines()), members)


def _locked(member: Bound) -> LockedTool:
    tool = member.tool
    schema = Schema.of(tool.definition.parameters)
    return LockedTool(
        tool.name,
        member.origin,
        member.package,
        _fingerprint(define(tool.name, tool.description, schema.encoded)),
        tuple(effect for effect in EFFECTS if effect in tool.effects),
        tool.approval is True,
        tuple(tool.description.split("\n")),
        schema,
    )


def _fingerprint(definition: ToolDefinition) -> str:
    return fingerprint_of("d1", definition.encoded)


def _written(value: Any) -> msgspec.Raw:
    assert isinstance(value, Schema)
    return msgspec.Raw(value.encoded)


def _read(_kind: type[Any], value: Any) -> Schema:
    return Schema(msgspec.json.encode(value))


def decode_lock(data: bytes, place: str) -> Lock:
    """The lock that a file holds; *place* names it. Raises LockError for what is none, and for one that was edited."""
    try:
        check_nesting(data, MAX_NESTING + ENVELOPE_LEVELS)
        lock = msgspec.json.decode(data, type=Lock, dec_hook=_read)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LockError(f"{place} is no lock ({error}); write it anew: gaia tools lock") from None
    if lock.version != _VERSION:
        raise LockError(f"{place} has the format {lock.version}, this version writes {_VERSION}; use the newer gaia")
    for entry in lock.agents:
        for tool in entry.tools:
            if tool.fingerprint != _fingerprint(tool.definition):
                raise LockError(
                    f"{place}: agent {entry.agent}, tool {tool.name}: the fingerprint is not that of the definition "
                    "beside it; the file was edited by hand. Review the tools and write it anew: gaia tools lock"
                )
    return lock


def read_lock(folder: Path) -> Lock | None:
    """The lock in *folder*, or None where there is none. Raises LockError."""
    path = folder / LOCK_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"{path}: can't be read: {error.strerror}") from None
    return decode_lock(data, str(path))


def check_agents(lock: Lock, agents: Iterable[Agent]) -> None:
    """Raise LockError, with everything that nobody reviewed and how to accept it, unless *agents* are as locked."""
    refused = {
        each.name: problems
        for agent in agents
        for each in agents_below(agent)
        if (problems := lock.check(each.name, each.tools))
    }
    if refused:
        listed = "\n".join(f"agent {name}: {problem}" for name, problems in refused.items() for problem in problems)
        raise LockError(refusal(listed))


def lock_changes(old: Lock, new: Lock) -> str:
    """What differs from *old* in *new*, for people; "" when a model would be told the same by the same tools."""
    lines: list[str] = []
    for name in sorted({entry.agent for entry in (*old.agents, *new.agents)}):
        before, after = old.tools(name), new.tools(name)
        kept = {tool.name for tool in after.tools}
        lines += [f"agent {name}: tool {tool.name} is gone" for tool in before.tools if tool.name not in kept]
        lines += [f"agent {name}: {problem}" for problem in _refusals(before, after)]
        if not lines and before.instructions != after.instructions:
            lines.append(f"agent {name}: the tools' instructions have changed")
    return "\n".join(lines)


def refusal(listed: str) -> str:
    """The whole words: what is refused, and how it is accepted."""
    return (
        f"{LOCK_NAME} refuses what a model would be told, because nobody has reviewed it:\n{listed}\n"
        "To accept it, write the lock anew after your review: gaia tools lock (with your --config). "
        "To refuse it, go back to the version that was locked."
    )


def _marks(tools: LockedTools) -> frozenset[tuple[Any, ...]]:
    return frozenset((tool.name, tool.fingerprint, tool.effects, tool.approval) for tool in tools.tools)


def _refusals(reviewed: LockedTools, now: LockedTools) -> Iterable[str]:
    before = {tool.name: tool for tool in reviewed.tools}
    for tool in now.tools:
        old = before.get(tool.name)
        if old is None:
            yield f"tool {tool.name} of {_source(tool)} is not in the lock\n{_diff((), _shown(tool))}"
        elif _marks(msgspec.structs.replace(reviewed, tools=(old,))) != _marks(
            msgspec.structs.replace(now, tools=(tool,))
        ):
            since = f" (locked: {old.package})" if old.package != tool.package else ""
            yield f"tool {tool.name} of {_source(tool)}{since} has changed\n{_diff(_shown(old), _shown(tool))}"
    if not _subsequence(now.instructions, reviewed.instructions):
        yield f"the tools' instructions have changed\n{_diff(reviewed.instructions, now.instructions)}"


def _source(tool: LockedTool) -> str:
    return f"{tool.origin} ({tool.package})" if tool.package else tool.origin


def _shown(tool: LockedTool) -> tuple[str, ...]:
    """*tool* as lines that a person compares."""
    parameters = msgspec.json.format(tool.parameters.encoded, indent=2).decode()
    marks = (f"effects: {', '.join(tool.effects) or 'none'}", f"approval: {'asks' if tool.approval else 'no'}")
    return (*tool.description, *marks, *parameters.splitlines())


def _diff(old: Iterable[str], new: Iterable[str]) -> str:
    """A unified diff. What can't be seen (a zero-width or bidirectional character, an escape) is written out."""
    lines = list(difflib.unified_diff(list(old), list(new), "locked", "now", lineterm="", n=2))
    shown = [visible(line[:_MOST_CHARS] + ("…" if len(line) > _MOST_CHARS else "")) for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(f"… {len(lines) - _MOST_LINES} more lines")
    return "\n".join(f"  {line}" for line in shown)


def _subsequence(some: Iterable[str], whole: Iterable[str]) -> bool:
    """Whether the lines of *some* that say something stand in *whole*, in this order."""
    rest = iter(whole)
    return all(line in rest for line in some if line.strip())


def write_lock(folder: Path, lock: Lock) -> Path:
    """Write *lock* into *folder*, whole or not at all; its path. Raises ConfigError."""
    path = folder / LOCK_NAME
    partial = path.with_name(f"{LOCK_NAME}.new")
    try:
        partial.write_bytes(lock.encode())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path}: can't be written: {error.strerror}") from None
    return path
