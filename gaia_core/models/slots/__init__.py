"""Slots: how many requests a model takes at once, and who is next (law 7).

Begin with `_pool`, then `_fair_queue`.
"""
