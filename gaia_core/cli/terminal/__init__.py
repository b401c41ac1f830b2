"""The terminal: a conversation, what it shows, and what a person types.

Begin with `_conversation`, then `_event_view` (events → screen).
"""
