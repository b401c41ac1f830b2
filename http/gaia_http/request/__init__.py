"""The request room: what every wire protocol reads from a request. It knows none of them.

A protocol has its own structs of the wire, and calls these checks with the paths that values have there: its clients
get errors about the fields that they sent (`messages[0].content[1].image_url.url`, `input[0].content[1].image_url`).

| module | what it owns |
|---|---|
| `_decoding` | bytes → structs, and decoding errors by path |
| `_fields` | errors about one value, by its path, and the checks that several readers share |
| `_agent` | the agent that is named as the model |
| `_session_headers` | which session a request belongs to |
| `_content_parts` | a message's parts as they are sent → parts of the core |
| `_part_converter` | parts of the core → what the agent's model takes: images fetched, files as text |
| `_tool_results` | results of a client's tools: which call each answers, where their images go |
| `_surrogates` | where a body has half of a surrogate pair |
| `_server_options` | members that reach the model's server, and those that may not |
| `_client_tools` | a client's tools and `tool_choice` → definitions |
| `_sampling`, `_response_format`, `_metadata` | the options of the same names |
| `_uploaded_files`, `_pdf`, `_url_fetch` | stored files, the text of a PDF, guarded fetching of URLs |

To add a protocol: its structs, a reader of its messages, and its `PartTypes`, `PartPaths` and `ClientFunction`s; the
smallest example is `openai/chat/_options` with `_message_reader`. May import `door` (who asks), and no protocol.
Begin with `_fields`, then `_content_parts`.
"""
