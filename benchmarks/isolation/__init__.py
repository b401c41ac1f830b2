"""Isolation: interleaved turns of agents whose tools share names and differ in roots; nothing may cross between them.

| module | what lives there |
|---|---|
| `agents` | the agents, their tools and model; and shared states that can be planted, so that the check can fail |
| `measure` | the turns, what each of them checks, the table |
"""

from benchmarks.isolation.measure import main

__all__ = ["main"]
