"""The Responses API: a response is a turn of a session in the journal, or a part of one that waits for approvals.

| room or module | what it owns |
|---|---|
| `_routes`, `_pagination` | the routes |
| `_create_response`, `_request_state` | from a request to a running turn |
| `input` | the request: wire message, items, content, options |
| `output` | events of a turn → items, stream and object of a response |
| `stored` | responses and conversations in the journal |
| `websocket` | the same over a WebSocket, and steering |
| `_approvals` | answers to approvals |
| `_compact`, `_count_input_tokens` | a conversation in short; how many tokens it has |
| `_ids` | ids that say where a response and its items are |
"""

from gaia_http.openai.responses._routes import response_handlers

__all__ = ["response_handlers"]
