"""The Responses API: a response is a turn of a session in the journal, or a part of one that waits for approvals.

| module | what lives there |
|---|---|
| `_wire` | the request's structs |
| `_ids` | ids that say where a response and its items are |
| `_items`, `_content` | items of the input, and their parts → messages of the core |
| `_summary` | the `compaction` item |
| `_options` | what a request says beside its input → `TurnOptions`, and its echo |
| `_note` | what is kept of a request beside its turn |
| `_create`, `_begun` | from a request to a running turn |
| `_approvals` | answers to approvals |
| `_output`, `_open`, `_chunked` | events → events of a response, and its items |
| `_object` | the response object |
| `_stored` | responses found again, and told again |
| `_answer` | the ASGI responses |
| `_socket`, `_steer` | the same over a WebSocket; what is said to a response that runs |
| `_compact`, `_counted` | a conversation in short; how many tokens it has |
| `_conversations`, `_omitted` | /v1/conversations; what was deleted from one |
| `_page`, `_routes` | the routes |
"""

from gaia_http.openai.responses._routes import response_handlers

__all__ = ["response_handlers"]
