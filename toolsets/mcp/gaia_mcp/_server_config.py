"""McpServerConfig: where an MCP server is and what it may do, as a frozen value."""

import re
from pathlib import PurePath
from urllib.parse import urlsplit

import attrs

from gaia_core import ConfigError
from gaia_core.frozen_types import is_count, is_seconds, made_once, typed
from gaia_core.tools import EFFECTS, Effect

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


@attrs.frozen(kw_only=True, field_transformer=typed)
class McpServerConfig:
    """One MCP server. Exactly one of *command* (a program and its arguments; no shell reads them) and *url*.

    | field | unit | meaning |
    |---|---|---|
    | env, headers | | what it is given; `env:NAME` stands for a variable, read when it is connected |
    | cwd | folder | where the program starts |
    | effects | | what its tools may do, whatever their hints say; None: as the hints say, the worst without them |
    | timeout | s | of a call; None: the agent's `Limits.tool_seconds` |
    | connect_seconds | s | from the start of the program to its list of tools |
    | max_bytes | bytes | of one message; a larger one fails its call |
    | max_messages | a second | sent by itself (a tenfold burst is taken); more of them end the connection |
    | max_tools | | a longer list is refused |
    | max_schema_bytes | bytes | of one tool's schema; a larger one leaves that tool out |
    | per_session | | each session has a connection of its own, for a server that keeps state |
    | sampling | | the model (by its name in the catalog) that it may ask; "": it may ask none |
    | extras | | its resources and prompts are tools, too |
    """

    __attrs_pre_init__ = made_once

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    cwd: PurePath | None = None
    effects: frozenset[Effect] | None = None
    timeout: float | None = attrs.field(default=None, validator=is_seconds)
    connect_seconds: float = attrs.field(default=30.0, validator=is_seconds)
    max_bytes: int = attrs.field(default=4_000_000, validator=is_count)
    max_messages: int = attrs.field(default=500, validator=is_count)
    max_tools: int = attrs.field(default=500, validator=is_count)
    max_schema_bytes: int = attrs.field(default=65_536, validator=is_count)
    per_session: bool = False
    sampling: str = ""
    extras: bool = True

    def __attrs_post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(f"an MCP server's name must be 1 to 32 letters, digits, '_' or '-', not {self.name!r}")
        if bool(self.command) == bool(self.url):
            raise ConfigError(f'the MCP server {self.name!r} needs either command = [...] or url = "..."')
        if self.url and (urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname):
            raise ConfigError(f"the MCP server {self.name!r}: the url must begin with http:// or https://")
        if self.url and (urlsplit(self.url).username or urlsplit(self.url).password):
            raise ConfigError(f"the MCP server {self.name!r}: no password in a url; use headers with env:NAME")
        if self.url and (self.env or self.cwd):
            raise ConfigError(f"the MCP server {self.name!r}: env and cwd belong to a command; a url has headers")
        if self.command and self.headers:
            raise ConfigError(f"the MCP server {self.name!r}: headers belong to a url; a command has env")
        for unknown in (self.effects or frozenset()) - frozenset(EFFECTS):
            raise ConfigError(
                f"the MCP server {self.name!r}: unknown effect {unknown!r}. Effects: {', '.join(EFFECTS)}"
            )

    @property
    def place(self) -> str:
        """Where it is, for messages: the program or the URL."""
        return PurePath(self.command[0]).name if self.command else self.url
