"""gaia_http.mcp: agents and toolsets as an MCP server, over stdio and at /mcp of the one application.

| module | what lives there |
|---|---|
| `_exposed_tools` | what is served, and to whom |
| `_tool_call` | a tools/call as a turn: progress, questions, approvals, the result |
| `_server` | the official SDK's server over a runtime |
| `_nesting_limit` | the nesting limit for messages of clients |
| `_http_route` | its streamable HTTP at /mcp |
| `cli` | the command `gaia mcp` |

A call is a turn of the runtime that asks no model (`Runtime.call`): it is validated, approved, limited, counted and
told of as any other, and an agent's tool is a turn of that agent. The SDK is imported when it is served.
"""
