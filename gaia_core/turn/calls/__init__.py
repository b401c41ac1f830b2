"""Tool calls of a turn: validate, then approve, then run (law 6).

Begin with `_tool_calls` (the order of the three), then `_approval` (who must be asked)
and `_call_execution` (one call's time limit, thread and result).
"""
