"""Sessions beside their running turns: listing, history, messages, export, transfer, replay.

Begin with `_sessions` (what surfaces call), then `_history` (records folded into what a turn continues from).
"""
