"""Models: whatever turns a request into a stream of deltas.

| module | a model that is |
|---|---|
| `_protocol` | the contract: `Model`, `ModelRequest`, the deltas |
| `_scripted` | a function, a list of answers or a recording, for tests |
| `_endpoint` | an OpenAI-compatible HTTP endpoint (`_wire`: what it answers; `_arrival`, `_sse`: how that arrives) |
| `_prompted` | another model without reliable tool calls, prompted into making them |
| `_repair` | nearly right tool calls, made right |
| `_slots` | how many requests at once, and who is next |
| `_discovery` | found running on this machine |
| `embedded` | llama.cpp in a managed child process, and its weights |
"""

from gaia_core.models._discovery import CANDIDATES, OWN, Candidate, Found, discover
from gaia_core.models._endpoint import Endpoint, EndpointConfig
from gaia_core.models._prompted import PromptedTools
from gaia_core.models._protocol import (
    Delta,
    Finished,
    Model,
    ModelError,
    ModelRequest,
    ResponseFormat,
    Sampling,
    ToolCallDelta,
    ToolChoice,
)
from gaia_core.models._repair import repair
from gaia_core.models._scripted import ReplayModel, ScriptedModel, call, scripted
from gaia_core.models._slots import SlotPool

__all__ = [
    "CANDIDATES",
    "OWN",
    "Candidate",
    "Delta",
    "Endpoint",
    "EndpointConfig",
    "Finished",
    "Found",
    "Model",
    "ModelError",
    "ModelRequest",
    "PromptedTools",
    "ReplayModel",
    "ResponseFormat",
    "Sampling",
    "ScriptedModel",
    "SlotPool",
    "ToolCallDelta",
    "ToolChoice",
    "call",
    "discover",
    "repair",
    "scripted",
]
