"""Tools that a client brings to a turn, and its choice among them (`tool_choice`).

A protocol says how a tool of its own wire reads (`FunctionReader`) and where its fields stand. The definition, its
bounds and the collision with the agent's own tools are checked here.
"""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

import attrs
import msgspec

from gaia_core import Agent
from gaia_core.models import ToolChoice
from gaia_core.tools import ToolDefinition
from gaia_core.turn import is_own
from gaia_http._errors import invalid
from gaia_http._settings import Settings
from gaia_http.request._decoding import given
from gaia_http.request._fields import check_bytes, check_count, check_name, invalid_at, not_one_of, shortened

T = TypeVar("T")

_log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.:-]+")
_SHOWN_TOOLS, _SHOWN_CHARS = 32, 64

_MODES = ("none", "auto", "required")
_EMPTY_SCHEMA = b'{"type":"object","properties":{}}'


class ClientFunction(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A function of a client. *parameters*: its JSON schema, not sent where it takes none."""

    name: str
    description: str | None
    parameters: msgspec.Raw
    strict: bool | None = None
    name_path: str
    parameters_path: str


FunctionReader: TypeAlias = Callable[[T, str], ClientFunction | None]
"""Reads the tool at a path; None: one of a type that is not served, which is left out (see `told_ignored`)."""

ChoiceReader: TypeAlias = Callable[[msgspec.Raw, "OfferedTools"], "OfferedTools"]
"""Reads `tool_choice` and says what it leaves of the tools."""


@attrs.frozen
class OfferedTools:
    """The client's *tools* that the model is offered, and its *choice* among them. The agent's own are not affected."""

    tools: tuple[ToolDefinition, ...] = ()
    choice: ToolChoice = ToolChoice()

    def by_mode(self, path: str, mode: str) -> "OfferedTools":
        """As the *mode* at *path* says: none of them, any, or at least one. Raises ApiError 400."""
        if mode not in _MODES:
            raise not_one_of(path, mode, _MODES)
        if mode == "none":
            return OfferedTools()
        if mode == "required":
            if not self.tools:
                raise invalid_at(path, "'required' needs tools to choose from, and none were sent")
            return OfferedTools(self.tools, ToolChoice("required"))
        return self

    def forced(self, path: str, name: str) -> "OfferedTools":
        """The model must call the tool *name*. Raises ApiError 400 for one that was not sent."""
        return OfferedTools(self.tools, ToolChoice("required", self._known(path, name)))

    def only(self, allowed: Iterable[tuple[str, str]]) -> "OfferedTools":
        """Those that *allowed* names, each by its path and its name. Raises ApiError 400 for one that was not sent."""
        names = frozenset([self._known(path, name) for path, name in allowed])
        return OfferedTools(tuple(tool for tool in self.tools if tool.name in names))

    def _known(self, path: str, name: str) -> str:
        if all(tool.name != name for tool in self.tools):
            raise invalid_at(path, f"there is no tool {shortened(name)!r} in tools")
        return name


def offered_tools(
    sent: Sequence[T] | None,
    read: FunctionReader[T],
    choice: msgspec.Raw,
    choose: ChoiceReader,
    agent: Agent,
    settings: Settings,
) -> OfferedTools:
    """The client's tools *sent*, as far as its *choice* leaves them. Raises ApiError 400.

    Every protocol has them at `tools`. An agent that ignores client tools ignores the choice among them, too.
    """
    if agent.client_tools == "ignore":
        return OfferedTools()
    offered = OfferedTools(_definitions(sent or (), read, agent, settings))
    return choose(choice, offered) if given(choice) else offered


def told_ignored(unserved: Sequence[str], agent: Agent) -> tuple[tuple[bytes, bytes], ...]:
    """The header `x-gaia-ignored`, which names the *unserved* tools that a request to *agent* brought; also one line in
    the log. Nothing where there are none, and where the agent ignores what clients bring."""
    if not unserved or agent.client_tools == "ignore":
        return ()
    names = dict.fromkeys(_UNSAFE.sub("_", name)[:_SHOWN_CHARS] for name in unserved[:_SHOWN_TOOLS])
    listed = ", ".join(names)
    _log.info("agent %s: tools of the client that can't be served are left out: %s", agent.name, listed)
    return ((b"x-gaia-ignored", listed.encode()),)


def _definitions(
    sent: Sequence[T], read: FunctionReader[T], agent: Agent, settings: Settings
) -> tuple[ToolDefinition, ...]:
    path = "tools"
    check_count(path, len(sent), "tools", settings.max_tools)
    definitions: dict[str, ToolDefinition] = {}
    for index, tool in enumerate(sent):
        function = read(tool, f"{path}[{index}]")
        if function is None:
            continue
        definition = _definition(function, settings.max_schema_bytes)
        name = definition.name
        if agent.client_tools == "strict" and is_own(agent, name):
            words = f"the agent {agent.name!r} has its own tool {name!r}; rename yours"
            raise invalid_at(function.name_path, words, "tool_name_taken")
        if name in definitions:
            raise invalid_at(function.name_path, f"another tool is called {name!r}, too", None)
        definitions[name] = definition
    if definitions and agent.client_tools == "reject":
        words = f"the agent {agent.name!r} accepts no tools from clients; send none"
        raise invalid(words, param=path, code="unsupported_value")
    return tuple(definitions.values())


def _definition(function: ClientFunction, most: int) -> ToolDefinition:
    path = function.parameters_path
    check_name(function.name_path, function.name)
    parameters = bytes(function.parameters) if given(function.parameters) else _EMPTY_SCHEMA
    if not parameters.startswith(b"{"):
        raise invalid_at(path, "must be a JSON schema, which is an object", None)
    check_bytes(path, len(parameters), most)
    # Encoded here and not by the core's `define`, so that `strict` reaches the model.
    fields: dict[str, object] = {"name": function.name}
    if function.description is not None:
        fields["description"] = function.description
    fields["parameters"] = msgspec.Raw(parameters)
    if function.strict is not None:
        fields["strict"] = function.strict
    encoded = msgspec.json.encode({"type": "function", "function": fields})
    return ToolDefinition(function.name, function.description or "", parameters, encoded)
