"""The door: who may come in, and with what.

Owns what every request passes before a route sees it: addresses, hosts and origins (`_access_control`), keys and their
limits, the bounds of a body (`_request_body`), idempotency. May import `keys`, `streaming` and `operations`.
Begin with `_middleware`.
"""
