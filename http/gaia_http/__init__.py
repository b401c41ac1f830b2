"""gaia_http: one Litestar application over a Runtime of gaia_core: the OpenAI API and the UI API of local agents.

    from gaia_core import Runtime
    from gaia_http import Settings, create_app

    app = create_app(Settings(), Runtime(catalog))        # any ASGI server runs it

| module | what lives there |
|---|---|
| `_settings` | `Settings`: addresses, bounds, times |
| `_app` | `create_app`: the routes, the lifespan |
| `_door` | what every request passes: the entrance, request id, the last resort |
| `_entrance` | who may come in: headers, host, origin, key |
| `_cors` | what browsers are told of pages of other hosts |
| `_caller` | who asks, for all that comes after the door |
| `keys` | keys: their file, what each may do, `gaia keys` |
| `_protocol`, `_socket_protocol` | bounds on a connection, below ASGI; on a WebSocket's |
| `_reader`, `_together` | whether a client reads; a response's head and first piece in one write |
| `_inbox` | the messages of a WebSocket whose key has limits |
| `_body`, `_post` | reading a request's body within its bounds; a route that asks for tokens |
| `_fetch` | the guard over URLs that clients name |
| `_idempotency` | one answer for one `Idempotency-Key` |
| `_errors` | the error envelope, and which failure gets which status |
| `_line` | the line to a client: writes, heartbeats, and noticing that it has gone |
| `_stream` | the stream of a turn that belongs to its client |
| `_page` | a built page at / |
| `_logs` | log lines: text or JSON, of which request, key, session and turn |
| `_traced`, `_export` | requests as spans; where traces and metrics go |
| `_metrics` | counts of requests and the Prometheus text |
| `openai` | the OpenAI API: wire messages in, chunks and answers out |
| `ui` | the UI API: sessions, conversations and their streams |
| `mcp` | agents and toolsets as an MCP server |
| `serve`, `_greeting` | the command `gaia serve`, and what it says |
| `process` | the process around one application: signals, the drain |
| `reload`, `_reload` | the command `gaia reload`, and what the server does then |
| `_presence` | which servers run here |

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
