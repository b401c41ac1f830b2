"""What gaia.toml may say: its tables, read strictly. An unknown key is an error that names the nearest one."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from gaia_core.catalog._catalog import QUEUE
from gaia_core.catalog._storage_quota import BYTES, OBJECTS, StorageLimits, StorageQuota
from gaia_core.errors import ConfigError
from gaia_core.models import Input
from gaia_core.models.endpoint._request_body import SendReasoning
from gaia_core.nesting import MAX_NESTING, nesting_depth
from gaia_core.tools import Effect, nearest

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
T = TypeVar("T")


class ModelTable(msgspec.Struct, forbid_unknown_fields=True):
    """A model. *url* may be a list: one model at several endpoints, see `Failover`; the other keys hold for each.

    *slots* requests run at once, at all endpoints together; *context_tokens* bounds the tokens that they may need
    together (prompt and longest answer, estimated), for a server whose slots share one KV cache. *inputs*: what it
    takes beside text (left out: what the endpoint says). *embeddings*: it makes vectors, and is no agent's model.
    *send_reasoning*: the field in which a model's reasoning is sent back with the calls that it led to, within a turn:
    `as_received`, `reasoning_content`, `reasoning`; `off` for a server that refuses it.
    *response_format*: `enforced` for a server that writes nothing but what a request's schema allows: a text with a
    response format is then streamed as it comes, and a wrong end is an error. `corrected`: it is sent whole, after it
    was checked, and the model is asked once to correct it.
    *forward*: names of further members of a chat completion request that reach the endpoint, such as `mirostat`.
    *cache_salt*: each key's requests have a salt of their own, so that keys don't share the server's prefix cache, and
    can't learn by its speed what others asked; vLLM knows it.
    """

    url: str | list[str] | None = None
    model: str | None = None
    embedded: bool | str = False
    slots: Positive | None = None
    queue: Annotated[int, Meta(ge=0)] = QUEUE
    context_tokens: Positive | None = None
    window: Positive | None = None
    inputs: list[Input] | None = None
    embeddings: bool = False
    api_key_env: str | None = None
    tool_calls: Literal["native", "prompted"] = "native"
    send_reasoning: SendReasoning = "as_received"
    response_format: Literal["corrected", "enforced"] = "corrected"
    connect_timeout: Seconds = 5.0
    first_token_timeout: Seconds = 300.0
    silence_timeout: Seconds = 60.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    extra: dict[str, Any] = {}
    forward: list[str] = []
    cache_salt: bool = False


class _LimitsTable(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    steps: Positive | None = None
    tool_calls: Positive | None = None
    tokens: Positive | None = None
    seconds: Seconds | None = None
    tool_seconds: Seconds | None = None
    result_chars: Positive | None = None


class _ApprovalsTable(msgspec.Struct, forbid_unknown_fields=True):
    effects: list[Effect] = []
    tools: list[str] = []
    never: list[str] = []
    timeout: Seconds = 300.0


class _ContextTable(msgspec.Struct, forbid_unknown_fields=True):
    tokens: Positive | None = None


class SearchTable(msgspec.Struct, forbid_unknown_fields=True):
    """Of `tool_search`: the tools that are always told, and the model that makes vectors."""

    core: list[str] = []
    embeddings: str | None = None


class AgentTable(msgspec.Struct, forbid_unknown_fields=True):
    """An agent: see `Agent`. *tools* are still to be read as a `Composition` and the arguments of a plugin."""

    model: str = "local"
    instructions: str = ""
    description: str = ""
    tools: list[dict[str, Any]] = []
    client_tools: Literal["merge", "ignore", "reject", "strict"] = "merge"
    limits: _LimitsTable = msgspec.field(default_factory=_LimitsTable)
    approvals: _ApprovalsTable = msgspec.field(default_factory=_ApprovalsTable)
    context: _ContextTable = msgspec.field(default_factory=_ContextTable)
    tool_search: bool | SearchTable = False


class Composition(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a `tools` entry that are ours."""

    use: str
    prefix: str = ""
    only: list[str] | None = None
    without: list[str] = []
    rename: dict[str, str] = {}
    approve: list[str] = []


class KeysStorageTable(msgspec.Struct, forbid_unknown_fields=True):
    """What each key may keep that has no storage limits of its own (`gaia keys create --stored-objects`)."""

    objects: Annotated[int, Meta(ge=0)] = OBJECTS
    bytes: Annotated[int, Meta(ge=0)] = BYTES


class LocalStorageTable(msgspec.Struct, forbid_unknown_fields=True):
    """What this machine's user may keep; without a limit unless one is given."""

    objects: Annotated[int, Meta(ge=0)] | None = None
    bytes: Annotated[int, Meta(ge=0)] | None = None


class StorageTable(msgspec.Struct, forbid_unknown_fields=True):
    """How much owners may keep: `objects` (sessions, stored responses, conversations, stored completions) and `bytes`
    of their records; uploaded files as many again."""

    keys: KeysStorageTable | None = None
    local: LocalStorageTable = msgspec.field(default_factory=LocalStorageTable)

    @property
    def quota(self) -> StorageQuota:
        """The table as a value."""
        keys, local = self.keys, self.local
        return StorageQuota(
            StorageLimits(keys.objects, keys.bytes) if keys is not None else None,
            StorageLimits(local.objects, local.bytes),
        )


class RetentionTable(msgspec.Struct, forbid_unknown_fields=True):
    """How long and how much of what clients store is kept for each API key: see `Retention`."""

    stored_days: Seconds = 30.0
    stored_bytes: Positive = 1_000_000_000
    answer_hours: Seconds = 24.0
    answer_bytes: Positive = 200_000_000


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    default_agent: str | None = None
    storage: StorageTable = msgspec.field(default_factory=StorageTable)
    retention: RetentionTable = msgspec.field(default_factory=RetentionTable)
    models: dict[str, Any] = {}
    agents: dict[str, Any] = {}


def parsed(path: Path) -> Document:
    """The file *path*; its models and agents are still to be read by `table_of`. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        value = read_toml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return table_of(value, Document, "")


def read_toml(text: str) -> dict[str, Any]:
    """The TOML document in *text*. Raises ValueError if it is malformed or nested too deep."""
    try:
        value = tomllib.loads(text)
        depth = nesting_depth(value)
    except RecursionError:  # tomllib is recursive Python code
        depth = MAX_NESTING + 1
    if depth > MAX_NESTING:
        raise ValueError(f"nested deeper than {MAX_NESTING} levels; make it flatter")
    return value


def table_of(value: Any, kind: type[T], place: str) -> T:
    """*value* as *kind*. Raises ConfigError; an unknown key is named with the nearest known one."""
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: expected a table, [{place}], got {type(value).__name__}")  # it may be a key
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
    for name, inner in value.items():
        where = f"{place}.{name}" if place else name
        if name not in fields:
            raise ConfigError(f"{where}: unknown key.{nearest(name, fields)} Keys are {', '.join(fields)}")
        if isinstance(fields[name], type) and issubclass(fields[name], msgspec.Struct):
            table_of(inner, fields[name], where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        words = _placed(str(error), place)
        if "got `str`" in words and (".tools:" in words or ".tools[" in words):
            words += '; write tools = [{ use = "files" }]'
        raise ConfigError(words) from None


def _placed(message: str, place: str) -> str:
    """msgspec's message with its `$.limits.steps` as a place in the file."""
    words, _, where = message.partition(" - at `$")
    inner = where.rstrip("`")
    return f"{place}{inner if place else inner.lstrip('.')}: {words[:1].lower()}{words[1:]}"
