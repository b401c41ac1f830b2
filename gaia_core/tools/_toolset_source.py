"""Source: a toolset that is known only once somebody was asked, such as the tools of an MCP server.

A source is a frozen value, as a toolset is: what it says is a recipe of scope `process`, and what that opens knows the
tools (`Live`). Who composes agents (the catalog) does so again, into new values, when a source lists other tools; no
toolset ever changes (law 2).
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from gaia_core.errors import ToolDeclarationError
from gaia_core.frozen_types import made_once, typed_as
from gaia_core.tools._resource import Recipe
from gaia_core.tools._toolset import Toolset


class Live(Protocol):
    """What a source's recipe opens. Opening it succeeds while nobody answers: that is the source's to say."""

    @property
    def toolset(self) -> Toolset | None:
        """The tools as they were listed last; None until they were."""
        ...

    @property
    def connected(self) -> bool:
        """Whether calls can be made now."""
        ...

    @property
    def problem(self) -> str:
        """What is wrong, for the operator, without secrets; "" when nothing is."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Call *changed*, on the event loop, after each change of the three above; one watcher at a time."""
        ...


@attrs.frozen(field_transformer=typed_as(ToolDeclarationError))
class Source:
    """Where a toolset comes from that has to be asked for.

    *name* is the operator's, and its toolset is called `mcp:NAME`; *recipe* opens a `Live` for the process. *command*
    (a program and its arguments) or *url* says where it is, *settings* what else it is given; all are shown to
    operators, so secrets are in them by the name of their reference only.
    """

    __attrs_pre_init__ = made_once

    name: str
    recipe: Recipe
    command: tuple[str, ...] = ()
    url: str = ""
    settings: tuple[tuple[str, str], ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.recipe.scope != "process":
            raise ToolDeclarationError(f"source {self.name!r}: its recipe must be of scope 'process'")
