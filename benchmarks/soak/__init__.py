"""The soak: mixed clients for minutes, an endpoint with faults, clients that go; and nothing is lost, wrong or left.

| module | what lives there |
|---|---|
| `upstream` | the endpoint: answers, and what goes wrong with it |
| `serving` | the server under test, in a process of its own |
| `clients` | the clients, and what they make of each answer |
| `measure` | the run, its samples, the table |
"""

from benchmarks.soak.measure import main

__all__ = ["main"]
