"""The server: the process around one application.

Owns signals, sockets, uvicorn's protocols with bounds, the limits over all connections (`_connections`), the pid file
and the start-up banner.
May import every other room; none imports it. Begin with `process`; `serve_command` is `gaia serve`.
"""
