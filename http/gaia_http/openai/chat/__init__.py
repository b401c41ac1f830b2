"""Chat completions: POST /v1/chat/completions.

Begin with `_chat_completions` (a request's way to a turn); `_message_reader` and `_options` read the request,
`_chunks` and `_completion` translate events into the streamed and the whole answer. `_stored_completions` and
`_stored_routes` keep and list those with `store: true`.
"""
