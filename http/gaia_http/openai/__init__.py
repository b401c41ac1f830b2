"""The OpenAI API: chat completions, embeddings, files and the list of models.

| module | what lives there |
|---|---|
| `_wire` | the request's structs, and decoding errors in the API's words |
| `_transcript` | the request's messages → messages of the core |
| `_parts` | images, audio and files of messages, as the model takes them (`_pdf`: the text of one) |
| `_session` | which session a request belongs to |
| `_options` | sampling, client tools, response format → `TurnOptions` |
| `_suspended` | the hidden steps of turns that wait for a client's tools |
| `_chat` | the handler of POST /v1/chat/completions |
| `_chunks` | events → chunks of a stream |
| `_answer` | events → the answer that is not streamed |
| `_usage` | `usage` |
| `_embeddings` | POST /v1/embeddings |
| `_files`, `_file_routes` | uploaded files, and their routes |
| `_models` | GET /v1/models |
"""
