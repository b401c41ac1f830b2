"""Chat completions: POST /v1/chat/completions.

Begin with `_chat_completions` (a request's way to a turn); `_message_reader` and `_options` read the request,
`_chunks` and `_completion` translate events into the streamed and the whole answer.
"""
