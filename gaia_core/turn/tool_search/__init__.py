"""Search over an agent's tools within a turn: `find_tools`, by words and by vectors.

Begin with `_find_tools`.
"""
