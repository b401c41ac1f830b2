"""Responses over a WebSocket, on the path of POST /v1/responses.

Begin with `_websocket` (the connection and its lanes), then `_steering`.
"""
