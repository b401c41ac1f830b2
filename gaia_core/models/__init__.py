"""Models: whatever turns a request into a stream of deltas.

| module | a model that is |
|---|---|
| `_protocol` | the contract: `Model`, `ModelRequest`, the deltas |
| `_scripted` | a function, a list of answers or a recording, for tests |
| `_endpoint` | an OpenAI-compatible HTTP endpoint (`_wire`: what it answers) |
| `_arrival`, `_sse`, `_refrain` | how an endpoint's answer arrives, and what need not be decoded of it |
| `_http` | no model: HTTP as an endpoint needs it (`_plain_http`: plain and direct; `_aiohttp`: all the rest) |
| `_request`, `_listed`, `_embedding` | what an endpoint is sent, lists, and makes of texts |
| `_prompted` | another model without reliable tool calls, prompted into making them |
| `_repair` | nearly right tool calls, made right |
| `_failover` | several endpoints as one model (`_breaker`: when one that failed is tried again) |
| `_slots` | how many requests at once (`_fair_queue`: who is next) |
| `_discovery` | found running on this machine |
| `embedded` | llama.cpp in a managed child process, and its weights |
"""

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
    "repair",
    "scripted",
]
