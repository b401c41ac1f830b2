"""Questions about a folder, for small models: which answers are right, wrong, invented, and how long they take.

    python -m benchmarks questions WEIGHTS.gguf [--set first|second] [--only 3,7] [--show]

The questions and their answer keys are frozen: they were committed before any tuning, and are not changed with it. The
first set is the one to tune with; the second is held out, and shows whether the tuning was for the first alone.

| module | what lives there |
|---|---|
| `key` | a question, its key, and how an answer is judged |
| `first`, `second` | the two folders and their questions |
| `measure` | the run and its table |
"""

from benchmarks.questions.measure import main

__all__ = ["main"]
