"""Streams of server-sent events: how bytes reach a client, whatever they say.

Begin with `_sse_writer` (one stream's writes and its keep-alive), then `_turn_stream` (a turn that belongs to its
client).
"""
