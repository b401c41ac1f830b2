"""Events of a turn → a response: its items, its stream and its object.

Begin with `_response_events` (the fold), then `_output_items` (each item's own events).
"""
