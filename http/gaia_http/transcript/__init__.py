"""Turns whose request is the whole conversation: what the protocols share that send it anew with each request.

Chat completions, Anthropic's messages and Ollama's chat read their own wire into a transcript and options.
`_transcript_turns` begins the turn and answers in one piece; `_suspended_turns` keeps what a client doesn't see of a
turn that waits for its tools; `_content_blocks` makes a message of the turn's events. Begin with `_transcript_turns`.
"""
