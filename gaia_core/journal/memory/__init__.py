"""The journal in memory: lost when the process stops, and nothing on disk (private sessions, tests).

Begin with `_journal`.
"""
