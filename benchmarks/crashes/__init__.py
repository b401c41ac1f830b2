"""The crash loop: servers are killed while clients talk to them; and nothing is lost, doubled or left without an end.

| module | what lives there |
|---|---|
| `serving` | the servers under test, forked from one process |
| `clients` | the clients, who come back until they have an answer, and compare it with the record |
| `measure` | the kills, what the record must say afterwards, the table |
"""

from benchmarks.crashes.measure import main

__all__ = ["main"]
