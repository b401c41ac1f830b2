"""gaia_core: immutable toolsets, cheap agents and concurrent sessions for models on your own machine.

    import asyncio
    from gaia_core import Agent, run

    print(asyncio.run(run(Agent("helper"), "What is a turn?")))

Everything public is here; the modules beneath are rooms, each of which says what lives in it. Nothing in this package
has module state: tools, toolsets and agents are values, and what changes belongs to a Runtime that you create.
"""

from gaia_core.agent import Agent, ApprovalPolicy, ContextPolicy, Limits
from gaia_core.catalog import Catalog, ModelSpec, load_catalog
from gaia_core.errors import (
    AnsweredError,
    ArgumentsError,
    BusyError,
    ClosedError,
    ConfigError,
    DamagedRecordError,
    DivergenceError,
    EventIdError,
    FencedError,
    GaiaError,
    JournalError,
    LimitError,
    LockError,
    NestingError,
    NotFoundError,
    OutcomeUnknownError,
    QueueFullError,
    SchemaError,
    StorageFullError,
    ToolCollisionError,
    ToolDeclarationError,
    ToolError,
    ToolsetError,
)
from gaia_core.models import ReplayModel, ScriptedModel, call, scripted
from gaia_core.runtime import Runtime, TurnError, run
from gaia_core.session import Session
from gaia_core.tool_output import Image, ToolOutput
from gaia_core.tools import Context, Recipe, Tool, Toolset, diff, doc, resource, tool
from gaia_core.turn import Audience, EventId, Turn, TurnOptions, TurnRequest

__all__ = [
    "Agent",
    "AnsweredError",
    "ApprovalPolicy",
    "ArgumentsError",
    "Audience",
    "BusyError",
    "Catalog",
    "ClosedError",
    "ConfigError",
    "Context",
    "ContextPolicy",
    "DamagedRecordError",
    "DivergenceError",
    "EventId",
    "EventIdError",
    "FencedError",
    "GaiaError",
    "Image",
    "JournalError",
    "LimitError",
    "Limits",
    "LockError",
    "ModelSpec",
    "NestingError",
    "NotFoundError",
    "OutcomeUnknownError",
    "QueueFullError",
    "Recipe",
    "ReplayModel",
    "Runtime",
    "SchemaError",
    "ScriptedModel",
    "Session",
    "StorageFullError",
    "Tool",
    "ToolCollisionError",
    "ToolDeclarationError",
    "ToolError",
    "ToolOutput",
    "Toolset",
    "ToolsetError",
    "Turn",
    "TurnError",
    "TurnOptions",
    "TurnRequest",
    "call",
    "diff",
    "doc",
    "load_catalog",
    "resource",
    "run",
    "scripted",
    "tool",
]
