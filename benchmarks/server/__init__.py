"""The server under load, beside raw asyncio and bare ASGI in one run.

Each server runs in a process of its own on one core; the load and the endpoint behind it share the other. What counts
is the server's CPU time (from the kernel), because the wall clock of a shared machine tells little.

| module | what lives there |
|---|---|
| `upstream` | the endpoint: a script of tokens and delays, on raw asyncio callbacks |
| `peers` | the floors: a relay on raw asyncio callbacks, and one on bare ASGI |
| `ours` | this project's server, with the default journal and one agent |
| `load` | the clients |
| `measure` | processes, CPU time, the rows |
"""

from benchmarks.server.measure import main

__all__ = ["main"]
