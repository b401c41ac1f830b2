"""The soak: mixed clients for minutes, an endpoint with faults, clients that disconnect, a journal that fails
in the middle; and nothing is lost, wrong or left.

| module | what lives there |
|---|---|
| `upstream` | the endpoint: answers, and what goes wrong with it |
| `serving` | the server under test, in a process of its own |
| `clients` | the clients, and what they make of each answer |
| `faults` | what goes wrong with the journal |
| `server_log` | what the server may log about that |
| `measure` | the run, its samples, the table |
"""

from benchmarks.soak.measure import main

__all__ = ["main"]
