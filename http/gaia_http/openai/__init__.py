"""The OpenAI API: chat completions and the list of models.

| module | what lives there |
|---|---|
| `_wire` | the request's structs, and decoding errors in the API's words |
| `_transcript` | the request's messages → messages of the core |
| `_options` | sampling, client tools, response format → `TurnOptions` |
| `_suspended` | the hidden steps of turns that wait for a client's tools |
| `_chat` | the handler of POST /v1/chat/completions |
| `_chunks` | events → chunks of a stream |
| `_answer` | events → the answer that is not streamed |
| `_usage` | `usage` |
| `_models` | GET /v1/models |
"""
