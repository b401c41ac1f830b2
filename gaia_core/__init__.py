"""gaia_core: immutable toolsets, cheap agents and concurrent sessions for models on your own machine.

    from gaia_core import Agent, Context, Toolset, doc, tool

Everything public is here; the modules beneath are rooms, each of which says what lives in it. Nothing in this package
has module state: tools, toolsets and agents are values, and what changes belongs to a Runtime that you create.
"""

from gaia_core.agent import Agent, ApprovalPolicy, ContextPolicy, Limits
from gaia_core.errors import (
    ArgumentsError,
    BusyError,
    ClosedError,
    ConfigError,
    DivergenceError,
    GaiaError,
    NotFoundError,
    QueueFullError,
    ToolCollisionError,
    ToolDeclarationError,
    ToolError,
    ToolsetError,
)
from gaia_core.session import Session
from gaia_core.tools import Context, Recipe, Tool, Toolset, diff, doc, resource, tool

__all__ = [
    "Agent",
    "ApprovalPolicy",
    "ArgumentsError",
    "BusyError",
    "ClosedError",
    "ConfigError",
    "Context",
    "ContextPolicy",
    "DivergenceError",
    "GaiaError",
    "Limits",
    "NotFoundError",
    "QueueFullError",
    "Recipe",
    "Session",
    "Tool",
    "ToolCollisionError",
    "ToolDeclarationError",
    "ToolError",
    "Toolset",
    "ToolsetError",
    "diff",
    "doc",
    "resource",
    "tool",
]
