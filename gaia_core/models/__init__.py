"""Models: whatever turns a request into a stream of deltas.

| room or module | what it owns |
|---|---|
| `_protocol` | the contract: `Model`, `ModelRequest`, the deltas |
| `endpoint` | OpenAI-compatible endpoints: request, stream, failover |
| `http` | the HTTP clients for endpoints |
| `embedded` | llama.cpp in a managed child process, and its weights |
| `slots` | how many requests at once, and who is next |
| `_prompted_tools` | tool calls from models that can't make them, by a JSON schema |
| `_call_assembly` | pieces of streamed tool calls → whole calls |
| `_call_arguments` | arguments: whole, mended in their form, or refused |
| `_json_prefix` | how much of a JSON text is certain before its end |
| `_prompted_form` | what such a model is asked: tools in words, examples, the schema |
| `_must_look` | which messages are looked into before they are answered |
| `_tool_call_repair` | nearly right tool calls, made right |
| `_discovery` | model servers that already run on this machine |
| `_scripted` | models for tests: a function, a list of answers or a recording |
"""

from gaia_core.models._call_arguments import problem_of
from gaia_core.models._discovery import CANDIDATES, OWN, Candidate, Found, discover
from gaia_core.models._prompted_tools import PromptedTools
from gaia_core.models._protocol import (
    Delta,
    EmbeddingRequest,
    Embeddings,
    EndpointLoad,
    Finished,
    Input,
    Model,
    ModelError,
    ModelRequest,
    ResponseFormat,
    Sampling,
    ToolCallDelta,
    ToolChoice,
)
from gaia_core.models._scripted import ReplayModel, ScriptedModel, call, first_difference, scripted
from gaia_core.models._tool_call_repair import repair
from gaia_core.models.endpoint._endpoint import Endpoint, EndpointConfig
from gaia_core.models.endpoint._failover import Failover, OpenEndpoints
from gaia_core.models.slots._pool import Slot, SlotPool, SlotRequest

__all__ = [
    "CANDIDATES",
    "OWN",
    "Candidate",
    "Delta",
    "EmbeddingRequest",
    "Embeddings",
    "Endpoint",
    "EndpointConfig",
    "EndpointLoad",
    "Failover",
    "Finished",
    "Found",
    "Input",
    "Model",
    "ModelError",
    "ModelRequest",
    "OpenEndpoints",
    "PromptedTools",
    "ReplayModel",
    "ResponseFormat",
    "Sampling",
    "ScriptedModel",
    "Slot",
    "SlotPool",
    "SlotRequest",
    "ToolCallDelta",
    "ToolChoice",
    "call",
    "discover",
    "first_difference",
    "problem_of",
    "repair",
    "scripted",
]
