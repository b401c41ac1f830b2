"""gaia_mcp: the tools of any MCP server as a toolset, over stdio or streamable HTTP.

    tools = [{ use = "mcp", name = "time", command = ["mcp-server-time"] }]               # in gaia.toml
    tools = [{ use = "mcp", url = "http://127.0.0.1:9000/mcp", headers = { Authorization = "Bearer env:MY_TOKEN" } }]

| module | what lives there |
|---|---|
| `_server` | `Server`: where a server is and what it may do, as a frozen value; `mcp`, the toolset's factory |
| `_secrets` | values by reference, and hiding them |
| `_tools` | what a server lists → a Toolset |
| `_schemas` | whether a schema can be given to a model, and what is wrong with arguments |
| `_connection` | one connection, kept up: connect, list, watch, begin again |
| `_calls` | one call: progress, questions, the result as the model reads it |
| `_questions` | elicitation and sampling |
| `_extras` | resources and prompts |
| `_words` | what failed, in words |
| `_stdio`, `_http` | the SDK's transports, within bounds |

The official SDK speaks the protocol. It is imported when a server is connected: without one it costs nothing.
"""

from gaia_mcp._server_config import Server, mcp

__all__ = ["Server", "mcp"]
