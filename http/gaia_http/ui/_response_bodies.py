"""The values that the UI API answers with, as its clients know them. A field with an unknown value is null.

Ids of sessions are UUIDs, those of messages the seq of the record; times are ISO 8601 in UTC with microseconds.
"""

from typing import Any, Literal, TypeAlias

import msgspec

from gaia_core.runtime import SessionMessage
from gaia_core.runtime.sessions.export import ExportedSession

Json: TypeAlias = dict[str, Any]


class SessionList(msgspec.Struct, frozen=True, gc=False):
    """A page of sessions, the last updated first; *total*: how many there are in all."""

    sessions: tuple[ExportedSession, ...]
    total: int


class MessageList(msgspec.Struct, frozen=True, gc=False):
    """A page of messages, oldest first; *total*: how many the conversation has."""

    messages: tuple[SessionMessage, ...]
    total: int


class WholeAnswer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer, where none was streamed."""

    message_id: int | None
    content: str
    sources: tuple[Json, ...]
    tokens: dict[str, int]


class Deleted(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """*count*: the messages that left the conversation; the journal keeps them as another branch."""

    deleted: bool
    count: int | None = None


class Acknowledged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was asked is done."""

    status: str
    approved: bool | None = None
    cancelled: bool | None = None


class Active(msgspec.Struct, frozen=True, gc=False):
    """The sessions that run a turn."""

    session_ids: tuple[str, ...]


class AgentTool(msgspec.Struct, frozen=True, gc=False):
    """A tool of an agent, as its model is sent it. *approval*: why its calls need approval, or null."""

    name: str
    description: str
    effects: tuple[str, ...]
    approval: str | None


class AgentInfo(msgspec.Struct, frozen=True, gc=False):
    """An agent of the catalog."""

    id: str
    name: str
    description: str
    source: Literal["builtin", "custom_python", "native", "installed"]
    conversation_starters: tuple[str, ...]
    models: tuple[str, ...]
    min_memory_gb: float | None
    required_connections: tuple[str, ...]
    consumes_mcp_servers: bool
    namespaced_agent_id: str
    category: str
    tags: tuple[str, ...]
    icon: str
    tools_count: int
    language: str
    device_configs: tuple[Json, ...]
    model_tiers: tuple[Json, ...]
    fingerprint: str
    tools: tuple[AgentTool, ...]


class AgentList(msgspec.Struct, frozen=True, gc=False):
    """The catalog's agents, by name."""

    agents: tuple[AgentInfo, ...]
    total: int


class HealthStats(msgspec.Struct, frozen=True, gc=False):
    """How much the journal holds."""

    sessions: int
    messages: int
    documents: int


class Health(msgspec.Struct, frozen=True, gc=False):
    """The server answers."""

    status: str
    service: str
    version: str
    stats: HealthStats


class BackgroundTask(msgspec.Struct, frozen=True, gc=False):
    """A start-up or background job: *status* is `completed`, `running` or `failed`."""

    id: str
    name: str
    status: str
    error: str | None = None


class TaskList(msgspec.Struct, frozen=True, gc=False):
    """The jobs of this server."""

    tasks: tuple[BackgroundTask, ...]


class InitTask(msgspec.Struct, frozen=True, gc=False):
    """A task in short."""

    name: str
    status: str


class SystemStatus(msgspec.Struct, frozen=True, gc=False):
    """The machine and its model. *lemonade_running*: the model endpoint answers, whichever server it is.

    *model_error*: why the embedded model failed or crashed, and what to do.
    """

    lemonade_running: bool
    model_loaded: str | None
    embedding_model_loaded: bool
    disk_space_gb: float
    memory_available_gb: float | None
    initialized: bool
    version: str
    device_supported: bool
    context_size_sufficient: bool
    default_model_name: str
    lemonade_url: str
    expected_model_loaded: bool
    init_state: str
    init_tasks: tuple[InitTask, ...]
    detected_devices: tuple[str, ...]
    active_profile: str
    lemonade_version: str | None = None
    model_size_gb: float | None = None
    model_device: str | None = None
    model_context_size: int | None = None
    model_labels: tuple[str, ...] | None = None
    gpu_name: str | None = None
    gpu_vram_gb: float | None = None
    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    processor_name: str | None = None
    model_downloaded: bool | None = None
    default_model_size_gb: float | None = None
    download_progress: float | None = None
    model_error: str | None = None


class ModelStatus(msgspec.Struct, frozen=True, gc=False):
    """Whether the wished model is in the catalog, on this machine, and answers."""

    found: bool
    downloaded: bool | None
    loaded: bool


class SettingsReply(msgspec.Struct, frozen=True, gc=False):
    """The page's settings. *custom_model* is the model of new sessions; the others are kept for the page."""

    custom_model: str | None
    context_size: int | None
    agent_mode: str | None
    dynamic_tools: bool | None
    model_status: ModelStatus


class Onboarding(msgspec.Struct, frozen=True, gc=False):
    """Whether the page's first steps were taken, and when."""

    initialized: bool
    skipped: bool
    completed_at: str | None


class Tunnel(msgspec.Struct, frozen=True, gc=False):
    """This server opens no tunnel."""

    active: bool = False
    url: str | None = None
    token: str | None = None
    started_at: str | None = None
    error: str | None = None


class McpServer(msgspec.Struct, frozen=True, gc=False):
    """A configured MCP server, secrets masked."""

    name: str
    command: str
    args: tuple[str, ...]
    env: dict[str, str]
    enabled: bool


class McpState(msgspec.Struct, frozen=True, gc=False):
    """Whether an MCP server is connected."""

    name: str
    connected: bool
    tool_count: int
    error: str | None = None


class McpStatus(msgspec.Struct, frozen=True, gc=False):
    """The MCP servers' states."""

    servers: tuple[McpState, ...]


class ErrorDetail(msgspec.Struct, frozen=True, gc=False):
    """What was wrong with a request, and what to do."""

    detail: str
