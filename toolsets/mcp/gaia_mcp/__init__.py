"""gaia_mcp: the tools of any MCP server as a toolset, over stdio or streamable HTTP.

    tools = [{ use = "mcp", name = "time", command = ["mcp-server-time"] }]               # in gaia.toml
    tools = [{ use = "mcp", url = "http://127.0.0.1:9000/mcp", headers = { Authorization = "Bearer env:MY_TOKEN" } }]

| module | what lives there |
|---|---|
| `_toolset_factory` | `mcp`, the toolset's factory, and the recipes of connections |
| `_server_config` | `McpServerConfig`: where a server is and what it may do |
| `_connection_protocol` | the contract between a server's tools and its connection |
| `_result_text` | what a server answers, as the model reads it |
| `_secret_references` | values by reference, and hiding them |
| `_listed_tools` | what a server lists → a Toolset |
| `_input_schemas` | whether a schema can be given to a model, and what is wrong with arguments |
| `_listing_repair` | listings that the SDK takes, though one tool doesn't fit the protocol |
| `_connection` | one connection, kept up: connect, list, watch, begin again |
| `_calls` | one call: progress, questions, the result as the model reads it |
| `_elicitation` | elicitation and sampling |
| `_resources_and_prompts` | resources and prompts |
| `_failure_text` | what failed, in words |
| `_stdio_transport`, `_http_transport` | the SDK's transports, within bounds |

The official SDK speaks the protocol. It is imported when a server is connected: without one it costs nothing.
"""

from gaia_mcp._server_config import McpServerConfig
from gaia_mcp._toolset_factory import mcp

__all__ = ["McpServerConfig", "mcp"]
