"""Streams of server-sent events: how bytes reach a client, whatever they say.

Begin with `_sse_response` (the response of every stream: a source and a translator), then `_sse_writer` (its writes,
heartbeats and disconnects). `_disconnect` and `_turn_result` serve answers in one piece.
"""
