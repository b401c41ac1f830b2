"""gaia_http: one Litestar application over a Runtime of gaia_core: the OpenAI API and the UI API of local agents.

    from gaia_core import Runtime
    from gaia_http import Settings, create_app

    app = create_app(Settings(), Runtime(catalog))        # any ASGI server runs it

| room or module | what it owns |
|---|---|
| `server` | the process around one application: `gaia serve`, signals, uvicorn's protocols, pid file, banner |
| `_app` | `create_app`: the routes, the lifespan |
| `door` | who may come in, and with what: addresses, hosts, origins, keys, limits, body, idempotency |
| `keys` | API keys: their file, what each may do, `gaia keys` |
| `request` | what every wire protocol reads from a request: content parts, files, URLs, client tools, options |
| `streaming` | server-sent events: how bytes reach a client |
| `transcript` | turns whose request is the whole conversation: what three protocols share |
| `vectors` | embeddings: which model makes them, for two protocols |
| `openai` | the OpenAI API: chat completions, Responses, embeddings, files, models |
| `anthropic` | the Anthropic Messages API |
| `ollama` | the Ollama API |
| `ui` | the UI API: sessions, conversations and their streams |
| `mcp` | agents and toolsets as an MCP server |
| `page` | a built page at `/` |
| `operations` | logs, metrics, traces, `gaia reload` |
| `_settings` | `Settings`: addresses, bounds, times |
| `_version` | the installed version |
| `_errors` | the error envelope, and which failure has which status |

Importing it starts nothing, and two applications in one process share nothing. The web framework is imported when
`create_app` is first asked for, so that the command line is quick.
"""

from typing import TYPE_CHECKING, Any

from gaia_http._settings import Settings

if TYPE_CHECKING:
    from gaia_http._app import create_app

__all__ = ["Settings", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from gaia_http._app import create_app  # noqa: PLC0415  # half a second, which only a server pays

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
